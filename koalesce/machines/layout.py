"""Where things lie on a machine that is a node: nothing of a cluster is anywhere else, so that all of it can be removed."""

from __future__ import annotations

RECORD = (
    "/etc/koalesce"  # made first and removed last: what the cluster is called, and what the machine was like before
)
TOOLS = "/opt/koalesce"
UNITS = "/etc/systemd/system"
UNIT_PREFIX = "koalesce-"
NETWORK = "network"  # the service that sets routes and rules, at each boot
CNI = "/opt/cni/bin"
# What a node's services read and write, each as a whole. None of it may be there before.
PLACES = (
    "/etc/cni", "/etc/containerd", "/etc/crictl.yaml", "/etc/kubernetes", "/etc/nri", "/opt/cni", "/opt/containerd", "/opt/nri", TOOLS, "/run/cni-ipam", "/run/containerd",
    "/var/lib/cni", "/var/lib/containerd", "/var/lib/etcd", "/var/lib/kube-proxy", "/var/lib/kubelet", "/var/log/containers",
    "/var/log/koalesce", "/var/log/pods",
)  # fmt: skip
# Of the whole machine; a kubelet sets the first ones itself.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
}
MODULES = ("overlay", "br_netfilter", "ip_tables", "nf_conntrack")


def unit(service: str) -> str:
    """The name of a service's unit."""
    return f"{UNIT_PREFIX}{service}.service"

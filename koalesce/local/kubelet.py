"""What makes a machine a Kubernetes node: containerd, kubelet and kube-proxy; their flags and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from koalesce.local.control_plane import command, gates
from koalesce.local.datastore import new_object
from koalesce.local.node import Service
from koalesce.local.noderoot import File
from koalesce.local.request import LocalRequest, NodeSpec
from koalesce.merging import merged
from koalesce.pki import Pki

NOT_READY = "node.kubernetes.io/not-ready"
# Until its kubelet has told what a Node has. A kubelet that finds a Node of its name that has nothing refuses static pods, and for good.
_SOME = {"cpu": "1", "memory": "512Mi", "pods": "110"}
UNTOLD: Mapping[str, Mapping[str, str]] = {"capacity": _SOME, "allocatable": _SOME}
SERVICES = ("containerd", "kubelet", "kube-proxy")
_CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_PKI = "/etc/kubernetes/pki"
# What the kubelet keeps free on its disks, in percent, unless it is told otherwise.
_DISKS = {"/var/lib/kubelet": ("nodefs.available", 10), "/var/lib/containerd": ("imagefs.available", 15)}


def files(
    request: LocalRequest, node: NodeSpec, pki: Pki, *, sandbox: str, cgroup_version: int, reserved: Mapping[str, str]
) -> list[File]:
    """What the services of a node read; `reserved` is kept from pods."""
    name = node.name
    kubelet = pki.text(f"kubelet/{name}.crt"), pki.text(f"kubelet/{name}.key")
    found = [
        File(path="/etc/containerd/config.toml", mode=0o644, text=_containerd(sandbox)),
        File(path="/etc/crictl.yaml", mode=0o644, text=f"runtime-endpoint: unix://{_CONTAINERD_SOCKET}\n"),
        File(path=f"{_PKI}/ca.crt", mode=0o644, text=pki.text("ca.crt")),
        File(path=f"{_PKI}/kubelet.crt", mode=0o600, text=kubelet[0]),
        File(path=f"{_PKI}/kubelet.key", mode=0o600, text=kubelet[1]),
        File(path="/etc/kubernetes/kubelet.conf", mode=0o600, text=pki.kubeconfig(f"kubelet/{name}", request.api_url)),
        _json_file(
            "/var/lib/kubelet/config.yaml",
            merged(_kubelet_configuration(request, cgroup_version, reserved) | _eviction(node), node.kubelet),
        ),
    ]
    if request.kube_proxy != "none":
        proxy = pki.kubeconfig("kube-proxy", request.api_url)
        found.append(File(path="/etc/kubernetes/kube-proxy.conf", mode=0o600, text=proxy))
    return found


def mirror_file(request: LocalRequest) -> File:
    """What has containerd pull from the cluster's own mirror, whatever the registry."""
    return File(path="/etc/containerd/certs.d/_default/hosts.toml", mode=0o644, text=_registries(request))


def services(request: LocalRequest, node: NodeSpec) -> dict[str, Service]:
    """The services by name, in the order in which they start."""
    taints = ",".join(_taint(taint) for taint in node.taints)
    labels = ",".join(f"{key}={value}" for key, value in node.labels.items() if not _is_restricted(key))
    kubelet = {
        "config": "/var/lib/kubelet/config.yaml",
        "kubeconfig": "/etc/kubernetes/kubelet.conf",
        "hostname-override": node.name,
        "node-ip": ",".join(node.addresses),
        **({"node-labels": labels} if labels else {}),
        **({"register-with-taints": taints} if taints else {}),
    }
    found = {
        "containerd": Service(
            name="containerd", argv=["/opt/koalesce/bin/containerd", "--config", "/etc/containerd/config.toml"]
        ),
        "kubelet": Service(name="kubelet", argv=command("kubelet", kubelet, request)),
    }
    if request.kube_proxy != "none":
        found["kube-proxy"] = Service(name="kube-proxy", argv=command("kube-proxy", _proxy(request, node), request))
    return found


def stored_node(node: NodeSpec) -> tuple[str, str]:
    """The Node that the kubelet finds when it registers, as key and value (JSON in base64) of the datastore.

    What the API server's admission adds to a new one is the taint alone.
    """
    document = node_object(node)
    document["spec"]["taints"].append({"key": NOT_READY, "effect": "NoSchedule"})
    return new_object(f"minions/{node.name}", document)


def node_object(node: NodeSpec) -> dict[str, Any]:
    """A new Node, with its pod CIDR and labels: there is nothing to wait for."""
    role = {"node-role.kubernetes.io/control-plane": ""} if node.is_control_plane else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {"kubernetes.io/hostname": node.name, **role, **node.labels},
        },
        "spec": {
            "podCIDR": node.pod_cidrs[0],
            "podCIDRs": list(node.pod_cidrs),
            "taints": [dict(taint) for taint in node.taints],
        },
        # kube-proxy looks for it at once, and then only every second.
        "status": {
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in node.addresses),
                {"type": "Hostname", "address": node.name},
            ],
            **UNTOLD,
        },
    }


def _taint(taint: Any) -> str:
    return f"{taint['key']}={taint.get('value', '')}:{taint['effect']}"


def _is_restricted(label: str) -> bool:
    """Kubelets may not set labels of these namespaces on themselves (NodeRestriction); the Node object has them anyway."""
    return label.partition("/")[0].endswith(("kubernetes.io", "k8s.io"))


def _containerd(sandbox: str) -> str:
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{_CONTAINERD_SOCKET}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{sandbox}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  # Lowering oom_score_adj below our own is not allowed on every machine, and pods of critical priority ask for it.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "/etc/cni/net.d"
"""


def _registries(request: LocalRequest) -> str:
    """Every registry is the mirror that the cluster has of its own."""
    mirror = request.mirror_url
    return f'server = "{mirror}"\n[host."{mirror}"]\n  capabilities = ["pull", "resolve"]\n'


def _kubelet_configuration(request: LocalRequest, cgroup_version: int, reserved: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{_PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{_PKI}/kubelet.crt",
        "tlsPrivateKeyFile": f"{_PKI}/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{_CONTAINERD_SOCKET}",
        **({"address": "::"} if request.families[0] == "IPv6" else {}),
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [request.dns_ip],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/resolv.conf",
        "staticPodPath": "/etc/kubernetes/manifests",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "failSwapOn": False,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "imageGCHighThresholdPercent": 100,
        **({"systemReserved": dict(reserved)} if reserved else {}),
        "featureGates": dict(request.feature_gates),
        # From 1.35 on a kubelet refuses cgroup v1 unless it is told not to (KEP-5573); the field is there since 1.31.
        **({"failCgroupV1": False} if cgroup_version == 1 else {}),
    }


def _eviction(node: NodeSpec) -> dict[str, Any]:
    """Disks of the node's own are looked after as by default; any other is the machine's: how full it is says nothing about the cluster.

    What has to be free is said in bytes: a disk that a fault has filled is smaller, of which a tenth would soon be free again.
    """
    hard = dict.fromkeys(("imagefs.available", "nodefs.available", "nodefs.inodesFree"), "0%")
    sizes = {disk.path: disk.size for disk in node.disks}
    own = {signal: str(sizes[path] * percent // 100) for path, (signal, percent) in _DISKS.items() if sizes.get(path)}
    # By default a node is said to be under pressure for five minutes more.
    return {"evictionHard": {**hard, **own}, **({"evictionPressureTransitionPeriod": "5s"} if own else {})}


def _proxy(request: LocalRequest, node: NodeSpec) -> dict[str, str]:
    """kube-proxy's flags. It has no configuration file, as it ignores most flags where it has one: those of the spec would do nothing."""
    return {
        "kubeconfig": "/etc/kubernetes/kube-proxy.conf",
        "proxy-mode": request.kube_proxy,
        "cluster-cidr": ",".join(request.pod_cidrs),
        "hostname-override": node.name,
        # nf_conntrack_max is read-only outside the first network namespace: leave it alone.
        "conntrack-max-per-core": "0",
        "conntrack-min": "0",
        # Rules follow Services and endpoints at once; upstream waits up to a second, for the sake of large clusters. It's the flag of nftables, too.
        "iptables-min-sync-period": "100ms",
        **gates(request),
    }


def _json_file(path: str, value: dict[str, Any]) -> File:
    return File(path=path, mode=0o644, text=json.dumps(value, indent=2))

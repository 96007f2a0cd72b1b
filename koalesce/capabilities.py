"""What clusters can do, by the names that specs require: one vocabulary for all providers, so that a slip of the pen is no skip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

CAPABILITIES: Mapping[str, str] = {
    "cgroup-v1": "nodes have cgroups of version 1",
    "cgroup-v2": "nodes have cgroups of version 2",
    "chaos": "the provider can disturb the cluster: the step `chaos`",
    "disruption": "tests may change what isn't theirs: those with `disruptive: true`",
    "dual-stack": "pods and Services have addresses of both families",
    "dummy": "dummy links",
    "egress": "pods and nodes reach what is outside of the cluster",
    "fou": "foo over UDP",
    "geneve": "Geneve tunnels",
    "gre": "GRE tunnels",
    "host-exec": "this machine reaches the cluster's addresses: `host` as a vantage point",
    "ipip": "IP in IP tunnels",
    "ipset": "ipsets",
    "iptables": "iptables",
    "ipv6": "addresses of IPv6",
    "ipvlan": "ipvlan links",
    "ipvs": "IPVS",
    "load-balancer": "Services of type LoadBalancer get addresses: the addon",
    "local-path": "claims get volumes of the StorageClass `local-path`: the addon",
    "macvlan": "macvlan links",
    "metrics-server": "the resource metrics API is served: the addon",
    "netem": "delay and loss on links",
    "nftables": "nftables",
    "node-exec": "commands run on nodes",
    "node-kill": "nodes can be switched off",
    "pod-probe": "connections are tried from pods: by commands on their nodes, or by ephemeral containers",
    "privileged": "privileged pods",
    "probe-answers": "probes from pods tell what is answered: `curl`, `dns`, `sourceIP`, `payload`, `distribution` …",
    "probe-icmp": "probes from pods tell who said no: `refused` from `rejected`",
    "pull-secrets": "a registry of the cluster asks who pulls",
    "sctp": "SCTP",
    "tbf": "bounded rates on links",
    "vlan": "VLAN links",
    "vrf": "virtual routing and forwarding",
    "vxlan": "VXLAN tunnels",
    "wireguard": "WireGuard tunnels",
}

_IMPLIED: Mapping[str, frozenset[str]] = {"node-exec": frozenset({"pod-probe", "probe-answers", "probe-icmp"})}


def with_implied(names: Iterable[str]) -> frozenset[str]:
    """These capabilities, and those that come with them."""
    given = frozenset(names)
    return given.union(*(more for name, more in _IMPLIED.items() if name in given))

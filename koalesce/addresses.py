"""The addresses of clusters: those that a cluster has unless it says others, and where the machines of local clusters get theirs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

Family = Literal["IPv4", "IPv6"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What kind gives a cluster, too (https://kind.sigs.k8s.io/docs/user/configuration/#pod-subnet).
PODS: Mapping[Family, str] = {"IPv4": "10.244.0.0/16", "IPv6": "fd00:10:244::/56"}
SERVICES: Mapping[Family, str] = {"IPv4": "10.96.0.0/16", "IPv6": "fd00:10:96::/112"}
# Nodes and fixtures of local clusters: the network of benchmarks (RFC 2544), and a unique local one (RFC 4193) whose global ID is "Koale".
FABRIC: Mapping[Family, Network] = {
    "IPv4": ipaddress.IPv4Network("198.18.0.0/15"),
    "IPv6": ipaddress.IPv6Network("fd4b:6f61:6c65::/48"),
}
# What Services of type LoadBalancer get in local clusters that have a load balancer: of the fabric's, and on nobody's link.
BALANCED: Mapping[Family, Network] = {
    "IPv4": ipaddress.IPv4Network("198.19.128.0/17"),
    "IPv6": ipaddress.IPv6Network("fd4b:6f61:6c65:1::/64"),
}
# Where the subnets are that machines of local clusters are in which aren't where all others are.
SUBNETS = ipaddress.IPv4Network("198.19.0.0/18")
# A node's share of the pods' addresses (--node-cidr-mask-size-ipv4 and -ipv6 of kube-controller-manager have these defaults).
NODE_PREFIX: Mapping[Family, int] = {"IPv4": 24, "IPv6": 64}


def family_of(text: str) -> Family:
    """The family of an address or a network; ValueError for what is neither."""
    return "IPv6" if ipaddress.ip_interface(text).version == 6 else "IPv4"


def ranges(families: Sequence[Family], written: Sequence[str], default: Mapping[Family, str]) -> tuple[str, ...]:
    """One range of each family, in the order of the families: what is written, or else the default."""
    chosen = {**default, **{family_of(text): text for text in written}}
    return tuple(chosen[family] for family in families)


def range_with(address: str, written: Iterable[str]) -> str:
    """Which of some ranges an address is in; nothing if it is in none, or is a name."""
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return next((text for text in written if text and wanted in ipaddress.ip_network(text)), "")

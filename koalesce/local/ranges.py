"""The address ranges of a local cluster, read and checked, and what of them its machines get."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from koalesce.addresses import FABRIC, NODE_PREFIX, SUBNETS, Family, Network, family_of, ranges

_LEAST_SERVICES = 16


def read_families(data: Mapping[str, Any]) -> tuple[Family, ...]:
    """The families that a request asks for, in their order; ValueError if there are no such."""
    known: tuple[Family, ...] = ("IPv4", "IPv6")
    wanted = data.get("ip_families") or ["IPv4"]
    families = tuple(family for name in wanted for family in known if family == name)
    if len(set(families)) < len(wanted):
        raise ValueError(f"ip_families {', '.join(wanted)}: each is one of IPv4, IPv6, and there only once")
    return families


def read_ranges(
    data: Mapping[str, Any], key: str, families: tuple[Family, ...], default: Mapping[Family, str]
) -> tuple[Network, ...]:
    """A range of each family, written as Kubernetes' flags have them: joined by a comma; ValueError if it is none."""
    written = [text for text in str(data.get(key) or "").split(",") if text]
    for text in written:
        if family_of(text) not in families:
            raise ValueError(f"{key}: {text} is not of {', '.join(families)}")
    return tuple(ipaddress.ip_network(text) for text in ranges(families, written, default))


def check_ranges(pods: Sequence[Network], services: Sequence[Network]) -> None:
    """Raise ValueError for ranges that overlap, or are too small."""
    for ours, theirs in zip(pods, services, strict=True):
        fabric = FABRIC[family_of(str(ours))]
        for one, other in ((ours, theirs), (ours, fabric), (theirs, fabric)):
            if one.overlaps(other):
                raise ValueError(f"the address ranges {one} and {other} overlap")
        if theirs.num_addresses < _LEAST_SERVICES:
            raise ValueError(f"the range of Services {theirs} has less than {_LEAST_SERVICES} addresses")


def node_shares(network: Network, nodes: int) -> list[str]:
    """Its first networks of the size that a node gets, one for each node; ValueError if there aren't as many."""
    prefix = NODE_PREFIX[family_of(str(network))]
    if network.prefixlen > prefix or 2 ** (prefix - network.prefixlen) < nodes:
        raise ValueError(f"the pod CIDR {network} has no /{prefix} for each of {nodes} nodes")
    return [str(share) for share in itertools.islice(network.subnets(new_prefix=prefix), nodes)]


def addresses_of(families: Sequence[Family], first: Mapping[Family, int], number: int) -> tuple[str, ...]:
    """The addresses of a machine by its number, counted from those of the first."""
    return tuple(str(FABRIC[family][first[family] + number]) for family in families)


def in_subnet(subnet: str, before: Sequence[str | None]) -> tuple[str, ...]:
    """The address of a machine of a subnet, of which the first is the gateway's; `before` are the subnets of the machines before it.

    ValueError if it has none left.
    """
    network, number = ipaddress.IPv4Network(subnet), before.count(subnet) + 2
    if not network.subnet_of(SUBNETS):
        raise ValueError(f"the subnet {network} is not of {SUBNETS}")
    if number > network.num_addresses - 2:
        raise ValueError(f"the subnet {network} has no addresses for more than {network.num_addresses - 3} machines")
    return (str(network[number]),)


def check_subnets(written: Sequence[str], families: Sequence[Family]) -> None:
    """Raise ValueError for subnets that overlap, or that aren't of the cluster's families."""
    subnets = [ipaddress.IPv4Network(text) for text in dict.fromkeys(written) if text]
    if subnets and "IPv6" in families:
        raise ValueError("subnets are of IPv4: a cluster with them has no other addresses")
    for number, subnet in enumerate(subnets):
        if other := next((each for each in subnets[:number] if each.overlaps(subnet)), None):
            raise ValueError(f"the subnets {other} and {subnet} overlap")

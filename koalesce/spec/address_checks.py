"""What is wrong with the addresses of a cluster: ranges that overlap, or are too small or too large for what they are for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from koalesce.addresses import FABRIC, NODE_PREFIX, PODS, SERVICES, Family, Network
from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem

_FIELDS: Mapping[str, Mapping[Family, str]] = {"podCIDR": PODS, "serviceCIDR": SERVICES}
_WIDEST_PODS_IPV6 = 48  # kube-controller-manager gives shares of at most 16 bits more (clusterSubnetMaxDiff of cidrset)
_SERVICE_BITS = range(4, 21)  # DNS has the tenth address; kube-apiserver takes no more than 2^20 of them


def address_problems(section: Mapping[str, Any], where: Path, source: Source, nodes: int) -> Iterator[Problem]:
    """Every problem of a cluster section with this number of nodes; what is no network is said elsewhere."""
    families = _families(section)
    written = {field: dict(_written(section, field, where)) for field in _FIELDS}
    for family in families:
        networks = {
            field: written[field].get(family, (ipaddress.ip_network(default[family]), (*where, field)))
            for field, default in _FIELDS.items()
        }
        (pods, of_pods), (services, of_services) = networks["podCIDR"], networks["serviceCIDR"]
        if pods.overlaps(services):
            place = of_services if family in written["serviceCIDR"] else of_pods
            yield source.problem_at(place, f"addresses of pods ({pods}) and of Services ({services}) overlap")
        for field, (network, place) in networks.items():
            if family in written[field] and network.overlaps(FABRIC[family]):
                message = f"{network} overlaps with {FABRIC[family]}, where the nodes' addresses are from"
                yield source.problem_at(place, message)
        if "podCIDR" in section:
            yield from (source.problem_at(of_pods, message) for message in _of_pods(pods, family, nodes))
        if "serviceCIDR" in section:
            yield from (source.problem_at(of_services, message) for message in _of_services(services))


def _of_pods(pods: Network, family: Family, nodes: int) -> Iterator[str]:
    share = NODE_PREFIX[family]
    if pods.prefixlen > share:
        yield f"{pods} is smaller than the /{share} that a node needs"
    elif 1 << (share - pods.prefixlen) < nodes:
        yield f"{pods} has no /{share} for each of {nodes} nodes"
    if family == "IPv6" and pods.prefixlen < _WIDEST_PODS_IPV6:
        yield f"{pods} is too large: Kubernetes can share out a /{_WIDEST_PODS_IPV6} at most"


def _of_services(services: Network) -> Iterator[str]:
    bits = services.max_prefixlen - services.prefixlen
    if bits not in _SERVICE_BITS:
        largest, smallest = (services.max_prefixlen - bits for bits in (_SERVICE_BITS[-1], _SERVICE_BITS[0]))
        size = "large" if bits > _SERVICE_BITS[-1] else "small"
        yield f"{services} is too {size} for Services, which take a /{largest} to a /{smallest}"


def _families(section: Mapping[str, Any]) -> list[Family]:
    found = section.get("ipFamilies", ["IPv4"])
    known: tuple[Family, ...] = ("IPv4", "IPv6")
    return [family for family in known if isinstance(found, list) and family in found]


def _written(section: Mapping[str, Any], field: str, where: Path) -> Iterator[tuple[Family, tuple[Network, Path]]]:
    """The networks of a field by their family, each with its place."""
    value = section.get(field)
    places: list[tuple[Any, Path]] = [(value, (*where, field))]
    if isinstance(value, list):
        places = [(item, (*where, field, index)) for index, item in enumerate(value)]
    for text, place in places:
        try:
            network = ipaddress.ip_network(text) if isinstance(text, str) else None
        except ValueError:
            network = None
        if network is not None:
            yield ("IPv6" if network.version == 6 else "IPv4"), (network, place)

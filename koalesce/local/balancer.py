"""A load balancer: Services of type LoadBalancer get addresses, which the cluster's router leads to nodes.

Addresses are on nobody's link: nodes and fixtures send what is for them to the router (the cluster's end of the fabric), which spreads
connections over the nodes that take them. kube-proxy does the rest on the nodes, and on a node, where nothing is sent at all: the status
says `ipMode: VIP` (KEP-1860).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any

from koalesce.addresses import BALANCED, Family, family_of
from koalesce.errors import ProvisionError
from koalesce.kube import ApiError, Kube, Resource, View
from koalesce.local import netns
from koalesce.local.controlling import Events, each_of
from koalesce.records import dataclass

_EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
_OF_SERVICE = "kubernetes.io/service-name"
_PER_FLOW = {"IPv4": "net/ipv4/fib_multipath_hash_policy", "IPv6": "net/ipv6/fib_multipath_hash_policy"}

Routes = Mapping[str, tuple[str, ...]]  # where each address leads to: addresses of nodes


def sysctls(families: Sequence[Family]) -> dict[str, str]:
    """What the router has set: packets of one connection go one way, other connections others."""
    return {_PER_FLOW[family]: "1" for family in families}


def unassigned(families: Sequence[Family]) -> list[str]:
    """The ip(8) commands of the router: what leads nowhere is refused, and doesn't leave the cluster."""
    return [f"route add unreachable {BALANCED[family]}" for family in families]


@dataclass(slots=True)
class Router:
    """Leads addresses to nodes, in the network namespace of the calling thread."""

    _there: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def lead(self, routes: Routes) -> None:
        """Have these routes, and none of those that were there before."""
        for address in [address for address in self._there if not routes.get(address)]:
            netns.ip(f"route del {address}")
            del self._there[address]
        for address, hops in routes.items():
            if hops and self._there.get(address) != hops:
                _lead(address, hops)
                self._there[address] = hops


def _lead(address: str, hops: tuple[str, ...]) -> None:
    try:
        netns.ip(f"route replace {address} {' '.join(f'nexthop via {hop}' for hop in hops)}")
    except ProvisionError:  # a kernel without CONFIG_IP_ROUTE_MULTIPATH
        netns.ip(f"route replace {address} via {hops[0]}")


@dataclass(slots=True)
class Balancer:
    """Gives Services addresses, and has them lead to nodes."""

    kube: Kube
    families: Sequence[Family]
    lead: Callable[[Routes], None]
    events: Events
    _given: dict[str, list[str]] = field(default_factory=dict)  # by UID, as a watch tells of a status a little later

    def look(self, view: View) -> None:
        """Give addresses to Services that want one, and lead those that they have to the nodes that take them now."""
        kinds = {name: self.kube.resource(name) for name in ("services", "nodes", "endpointslices")}
        services = sorted(filter(_is_ours, view.list(kinds["services"])), key=_age)
        nodes, slices = view.list(kinds["nodes"]), view.list(kinds["endpointslices"])
        taken: dict[str, Mapping[str, Any]] = {}
        held = {_uid(service): self._given.get(_uid(service)) or _held(service) for service in services}
        for service in services:
            taken.update((address, service) for address in held[_uid(service)] if address not in taken)
        routes: dict[str, tuple[str, ...]] = {}
        news: list[Callable[[], None]] = []
        for service in services:
            mine = [address for address in held[_uid(service)] if taken[address] is service]
            addresses = [
                found
                for family in service["spec"].get("ipFamilies", ())
                if family in self.families and (found := self._address(service, family, mine, taken))
            ]
            taken.update((address, service) for address in addresses)
            held[_uid(service)] = addresses
            hops = _takers(service, nodes, slices)
            routes |= {address: _of_family(hops, address) for address in addresses}
            if addresses != _shown(service):
                news.append(partial(self._say, kinds["services"], service, addresses))
        self._given = held
        self.lead(routes)
        each_of(*news)

    def _address(
        self, service: Mapping[str, Any], family: Family, mine: Sequence[str], taken: Collection[str]
    ) -> str | None:
        """The address of a Service in a family: that which it has, wants, or the first that is free; None if it can't have the one it wants."""
        wanted = service["spec"].get("loadBalancerIP") or ""
        if wanted and family_of(wanted) == family:
            if wanted in mine:
                return wanted
            problem = _problem(wanted, family, taken)
            if problem:
                self.events.tell(service, "SyncLoadBalancerFailed", problem)
            return None if problem else wanted
        has = (address for address in mine if family_of(address) == family)
        return next(has, None) or next(str(each) for each in BALANCED[family].hosts() if str(each) not in taken)

    def _say(self, resource: Resource, service: Mapping[str, Any], addresses: Sequence[str]) -> None:
        metadata = service["metadata"]
        ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]
        status = {"loadBalancer": {"ingress": ingress or None}}
        try:
            self.kube.patch(resource, metadata["name"], metadata["namespace"], {"status": status}, subresource="status")
        except ApiError as error:
            if error.status != 404:  # it is gone
                raise


def _is_ours(service: Mapping[str, Any]) -> bool:
    spec = service["spec"]
    is_going = "deletionTimestamp" in service["metadata"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not is_going


def _age(service: Mapping[str, Any]) -> tuple[str, str]:
    metadata = service["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["uid"]


def _uid(service: Mapping[str, Any]) -> str:
    return str(service["metadata"]["uid"])


def _shown(service: Mapping[str, Any]) -> list[str]:
    """The addresses that its status tells."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [entry["ip"] for entry in ingress if "ip" in entry]


def _held(service: Mapping[str, Any]) -> list[str]:
    """Those of them that are ours to give."""
    return [address for address in _shown(service) if ipaddress.ip_address(address) in BALANCED[family_of(address)]]


def _problem(wanted: str, family: Family, taken: Collection[str]) -> str:
    if ipaddress.ip_address(wanted) not in BALANCED[family]:
        return f"the loadBalancerIP {wanted} is not of {BALANCED[family]}, where addresses of Services are from"
    return f"the loadBalancerIP {wanted} is another Service's" if wanted in taken else ""


def _takers(
    service: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], slices: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The addresses of the nodes that take what is for a Service: those with a pod of it, if its traffic is to stay local, otherwise all."""
    able = [node for node in nodes if _is_able(node)]
    if service["spec"].get("externalTrafficPolicy") == "Local":
        near = set(_nodes_with_pods(service, slices))
        able = [node for node in able if node["metadata"]["name"] in near]
    return sorted(
        entry["address"]
        for node in able
        for entry in node["status"].get("addresses", ())
        if entry["type"] == "InternalIP"
    )


def _is_able(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions", ())
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and _EXCLUDED not in (node["metadata"].get("labels") or {})


def _nodes_with_pods(service: Mapping[str, Any], slices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    for part in slices:
        labels = part["metadata"].get("labels") or {}
        if part["metadata"]["namespace"] == namespace and labels.get(_OF_SERVICE) == name:
            for endpoint in part.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready", True) and endpoint.get("nodeName"):
                    yield endpoint["nodeName"]


def _of_family(addresses: Sequence[str], like: str) -> tuple[str, ...]:
    return tuple(address for address in addresses if family_of(address) == family_of(like))

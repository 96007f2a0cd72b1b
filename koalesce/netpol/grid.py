"""The grid on which policies are tried: pods of several namespaces, each of which serves the same ports."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from koalesce.netpol.policy import Labels, Protocol
from koalesce.netpol.simulator import NamedPort

NAME_LABEL = "kubernetes.io/metadata.name"
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """One pod of a grid, by the names that the grid has for it."""

    namespace: str
    pod: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Pods of the same names in each namespace, which serve the same ports.

    Each port has a name, as `serve-80-tcp`; and the pods call one of theirs `main`, the last pod of a namespace another one than the
    others, so that a policy about `main` means different numbers.
    """

    namespaces: tuple[str, ...] = ("x", "y", "z")
    pods: tuple[str, ...] = ("a", "b", "c")
    ports: tuple[int, ...] = (80, 81)
    protocols: tuple[Protocol, ...] = ("TCP",)

    def places(self) -> Iterator[Place]:
        """All pods, in order."""
        yield from (Place(namespace, pod) for namespace in self.namespaces for pod in self.pods)

    def serves(self) -> Iterator[tuple[Protocol, int]]:
        """What each pod serves."""
        yield from ((protocol, port) for protocol in self.protocols for port in self.ports)

    def named_ports(self, place: Place) -> tuple[NamedPort, ...]:
        """The names that a pod has for its ports."""
        own = tuple(NamedPort(f"serve-{port}-{protocol.lower()}", port, protocol) for protocol, port in self.serves())
        return (*own, NamedPort("main", self._main(place), "TCP")) if "TCP" in self.protocols else own

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        """The labels that a namespace has at first."""
        return {"ns": namespace, NAME_LABEL: namespace}

    def pod_labels(self, place: Place) -> dict[str, str]:
        """The labels that a pod has at first."""
        return {"pod": place.pod}

    def _main(self, place: Place) -> int:
        return self.ports[-1] if place.pod == self.pods[-1] else self.ports[0]


def translated(policy: Object, names: Mapping[str, str]) -> dict[str, Any]:
    """A policy that names the grid's namespaces, as the cluster knows them: in its metadata, and in selectors by `kubernetes.io/metadata.name`."""
    metadata = policy["metadata"]
    spec = _renamed(policy.get("spec") or {}, names)
    return {**policy, "metadata": {**metadata, "namespace": names[metadata["namespace"]]}, "spec": spec}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list | tuple):
        return [_renamed(each, names) for each in value]
    if not isinstance(value, Mapping):
        return value
    renamed = {key: _renamed(each, names) for key, each in value.items()}
    if NAME_LABEL in renamed:
        renamed[NAME_LABEL] = names.get(renamed[NAME_LABEL], renamed[NAME_LABEL])
    if renamed.get("key") == NAME_LABEL and "values" in renamed:
        renamed["values"] = [names.get(each, each) for each in renamed["values"]]
    return renamed


def addressed(policy: Object, addresses: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A policy with the addresses of pods in the place of their names in `ipBlock`; ValueError where a pod isn't known.

    `x/a` is a block for each address of the pod, `x/a/24` the network of that length that its first address is in.
    """
    spec = dict(policy.get("spec") or {})
    for field, peers in (("ingress", "from"), ("egress", "to")):
        if isinstance(spec.get(field), list):
            spec[field] = [_addressed_rule(rule, peers, addresses) for rule in spec[field]]
    return {**policy, "spec": spec}


def _addressed_rule(rule: Any, peers: str, addresses: Mapping[str, Sequence[str]]) -> Any:
    if not isinstance(rule, Mapping) or not isinstance(rule.get(peers), list):
        return rule
    return {**rule, peers: [each for peer in rule[peers] for each in _addressed_peer(peer, addresses)]}


def _addressed_peer(peer: Any, addresses: Mapping[str, Sequence[str]]) -> Iterator[Any]:
    block = peer.get("ipBlock") if isinstance(peer, Mapping) else None
    if not isinstance(block, Mapping):
        yield peer
        return
    excepted = [network for each in block.get("except") or () for network in _networks(each, addresses)]
    for cidr in _networks(block.get("cidr"), addresses):
        fitting = [each for each in excepted if (":" in str(each)) == (":" in str(cidr))]
        yield {**peer, "ipBlock": {"cidr": cidr, **({"except": fitting} if fitting else {})}}


def _networks(written: Any, addresses: Mapping[str, Sequence[str]]) -> list[Any]:
    """What is written where a range is expected: a range, or the name of a pod with or without a length."""
    if not isinstance(written, str) or ":" in written or written[:1].isdigit():
        return [written]
    pod, _, length = written.rpartition("/") if written.count("/") > 1 else (written, "", "")
    if pod not in addresses:
        raise ValueError(f"{written} is neither a range of addresses nor a pod of the grid, as in x/a or x/a/24")
    if length:
        return [str(ipaddress.ip_network(f"{addresses[pod][0]}/{length}", strict=False))]
    return [str(ipaddress.ip_network(each)) for each in addresses[pod]]


def labels_of(labels: Labels, change: Mapping[str, str | None]) -> dict[str, str]:
    """Labels after a change of them; null removes one."""
    after = {**labels, **change}
    return {key: value for key, value in after.items() if value is not None}

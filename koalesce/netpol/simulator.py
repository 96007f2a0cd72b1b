"""What NetworkPolicies let through, and which rule says so: https://kubernetes.io/docs/concepts/services-networking/network-policies/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from koalesce.netpol.policy import Direction, Labels, Peer, Policy, Port, Protocol, Rule, Selector


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A port of a pod that has a name."""

    name: str
    number: int
    protocol: Protocol = "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod with a network of its own."""

    namespace: str
    name: str
    labels: Labels = field(default_factory=dict)
    node: str = ""
    ports: tuple[NamedPort, ...] = ()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Node:
    """A node, or a pod in its network: no policy selects it, and peers know it only by its address."""

    name: str

    def __str__(self) -> str:
        return f"node {self.name}"


@dataclass(frozen=True, slots=True)
class Outside:
    """Anything else, known by its address."""

    name: str = "outside"

    def __str__(self) -> str:
        return self.name


End = Pod | Node | Outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A connection that is tried, from an address to an address and port."""

    source: End
    target: End
    source_address: str
    target_address: str
    port: int
    protocol: Protocol = "TCP"

    def peer(self, direction: Direction) -> tuple[End, str]:
        """Who is at the other end, as the pod sees it that a direction is about."""
        return (self.source, self.source_address) if direction == "ingress" else (self.target, self.target_address)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a connection is let through, and why."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class World:
    """All that decides: the labels of namespaces, and the policies."""

    namespaces: Mapping[str, Labels]
    policies: Sequence[Policy] = ()

    def decide(self, flow: Flow) -> Decision:
        """Whether a connection is let through.

        A pod always reaches itself. Traffic between a pod and the node that it's on is always allowed. All else has to be allowed by the
        policies that isolate its source for egress, and by those that isolate its target for ingress.
        """
        if flow.source == flow.target:
            return Decision(True, "nothing keeps a pod from itself")
        if _share_a_node(flow.source, flow.target):
            return Decision(True, "nothing comes between a pod and its own node")
        egress, ingress = self._side(flow, flow.source, "egress"), self._side(flow, flow.target, "ingress")
        if not (egress.allowed and ingress.allowed):
            return Decision(False, "; ".join(each.reason for each in (egress, ingress) if not each.allowed))
        return Decision(True, f"{egress.reason}; {ingress.reason}")

    def _side(self, flow: Flow, end: End, direction: Direction) -> Decision:
        """What the policies say that isolate one end in one direction."""
        if not isinstance(end, Pod):
            return Decision(True, f"no policy selects {end}")
        isolating = [policy for policy in self._selecting(end) if direction in policy.types]
        if not isolating:
            return Decision(True, f"no policy isolates {end} for {direction}")
        for policy in isolating:
            for index, rule in enumerate(policy.rules(direction)):
                if self._takes(rule, policy, flow, direction):
                    return Decision(True, f"{policy} {direction}[{index}] lets it through")
        names = ", ".join(map(str, isolating))
        return Decision(False, f"{end} is isolated for {direction} by {names}, and no rule lets it through")

    def _selecting(self, pod: Pod) -> Iterator[Policy]:
        yield from (
            each for each in self.policies if each.namespace == pod.namespace and each.selector.fits(pod.labels)
        )

    def _takes(self, rule: Rule, policy: Policy, flow: Flow, direction: Direction) -> bool:
        peer, address = flow.peer(direction)
        return (not rule.peers or any(self._is_meant(each, policy, peer, address) for each in rule.peers)) and (
            not rule.ports or any(_is_port(each, flow) for each in rule.ports)
        )

    def _is_meant(self, peer: Peer, policy: Policy, end: End, address: str) -> bool:
        if peer.block is not None:
            return peer.block.has(address)
        if not isinstance(end, Pod) or not (peer.pods or Selector()).fits(end.labels):
            return False
        if peer.namespaces is None:
            return end.namespace == policy.namespace
        return end.namespace in self.namespaces and peer.namespaces.fits(self.namespaces[end.namespace])


def _share_a_node(source: End, target: End) -> bool:
    match source, target:
        case (Node(name=node), Pod() as pod) | (Pod() as pod, Node(name=node)):
            return bool(pod.node == node)
        case _:
            return False


def _is_port(port: Port, flow: Flow) -> bool:
    if port.protocol != flow.protocol:
        return False
    if port.port is None:
        return True
    if isinstance(port.port, int):
        return port.port <= flow.port <= (port.end or port.port)
    named = flow.target.ports if isinstance(flow.target, Pod) else ()
    return NamedPort(port.port, flow.port, flow.protocol) in named

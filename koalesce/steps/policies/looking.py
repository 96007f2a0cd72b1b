"""One look at a grid: every pod tries every port of every pod, nodes those of their own pods, and all of it is compared with what must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from koalesce.addresses import Family, family_of
from koalesce.netpol.grid import Place
from koalesce.netpol.policy import Protocol
from koalesce.netpol.simulator import Decision, Flow, Pod
from koalesce.netpol.simulator import Node as NodeEnd
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, Outcome, StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.policies.ground import Ground
from koalesce.steps.wire.destination import Endpoint
from koalesce.steps.wire.matrix import Cell, Matrix
from koalesce.steps.wire.probing import KINDS, Batch, Target, probe

Blocked = tuple[str, ...]
Sources = Mapping[Place, Source]


# What must come of a connection, where the simulator has decided so.
Expectation = Callable[[Flow, Decision], Decision]


def as_simulated(_flow: Flow, decided: Decision) -> Decision:
    """The policies say it all."""
    return decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Looks at a grid. `blocked` are the outcomes that a connection may have which isn't let through."""

    ground: Ground
    blocked: Blocked
    limit: float
    expect: Expectation = as_simulated

    def __call__(self, sources: Sources, context: StepContext) -> Outcome:
        """Look once.

        Nodes are let through to their own pods whatever the policies are: that this is seen shows that the pod lives and serves, so
        that others' silence means something.
        """
        if lost := [str(place) for place, source in sources.items() if source.node is None]:
            return Errored(f"{lost[0]} runs on a node that gives no way to look from it", final=True)
        for place, source in sources.items():
            for family in self.ground.families:
                if not _of_family(source.addresses, family):
                    return Failed(f"pod {place} has no {family} address (yet)", expected="an address", actual="none")
        doors = list(self._doors(sources))
        rows = [*self._from_pods(sources, doors), *self._from_nodes(doors)]
        seen = probe(
            [Batch(source=source, targets=[door.target for door, _ in tries]) for source, tries in rows], context
        )
        world = self.ground.world()
        cells = []
        for (source, tries), answer in zip(rows, seen, strict=True):
            for (door, flow), observed in zip(tries, answer.results, strict=True):
                wanted = self.expect(flow, world.decide(flow))
                cells.append(
                    Cell(
                        source=source, endpoint=door.endpoint, target=door.target, observed=observed,
                        expected=("allowed",) if wanted.allowed else self.blocked, reason=wanted.reason,
                    )
                )  # fmt: skip
        return Matrix(cells).verdict("", context)

    def _doors(self, sources: Sources) -> Iterator[_Door]:
        """All ports of all pods, by the addresses that they have."""
        for place, source in sources.items():
            for family in self.ground.families:
                host = _of_family(source.addresses, family)
                suffix = f" {family}" if len(self.ground.families) > 1 else ""
                for protocol, port in self.ground.grid.serves():
                    name = f"{place}:{port}" + ("" if protocol == "TCP" else f"/{protocol}") + suffix
                    node = source.node.name if source.node else ""
                    yield _Door(
                        pod=self.ground.pod(place), protocol=protocol, family=family,
                        endpoint=Endpoint(name=name, host=host, port=port, kind="pod", node=node, uid=source.uid),
                        target=Target(type=KINDS[protocol], host=host, port=port, limit=self.limit),
                    )  # fmt: skip

    def _from_pods(self, sources: Sources, doors: Sequence[_Door]) -> Iterator[tuple[Source, list[_Try]]]:
        for place, source in sources.items():
            pod = self.ground.pod(place)
            own = {family: _of_family(source.addresses, family) for family in self.ground.families}
            yield source, [(door, door.entered(pod, own[door.family])) for door in doors]

    def _from_nodes(self, doors: Sequence[_Door]) -> Iterator[tuple[Source, list[_Try]]]:
        for node in self.ground.nodes:
            own = {family: _of_family(node.addresses, family) for family in self.ground.families}
            tries = [
                (door, door.entered(NodeEnd(node.name), own[door.family]))
                for door in doors
                if door.endpoint.node == node.name
            ]
            if tries:
                yield Source(kind="node", name=node.name, node=node, addresses=node.addresses, uid=node.name), tries


@dataclass(frozen=True, slots=True, kw_only=True)
class _Door:
    """A port of a pod: what it is to the simulator, to the report, and to the probe."""

    pod: Pod
    protocol: Protocol
    family: Family
    endpoint: Endpoint
    target: Target

    def entered(self, source: Pod | NodeEnd, address: str) -> Flow:
        """A connection to it."""
        return Flow(
            source=source, target=self.pod, source_address=address, target_address=self.endpoint.host,
            port=self.endpoint.port, protocol=self.protocol,
        )  # fmt: skip


_Try = tuple[_Door, Flow]


def _of_family(addresses: Sequence[str], family: Family) -> str:
    return next((each for each in addresses if family_of(each) == family), "")

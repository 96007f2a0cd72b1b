"""The step `perf`: how much a network carries, and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, StrictInt, model_validator

from koalesce.addresses import Family
from koalesce.durations import Duration, format_seconds
from koalesce.matching.mismatch import Mismatch
from koalesce.matching.numbers import NumberMatcher
from koalesce.models import Model
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.places import select
from koalesce.steps.stop import Latencies
from koalesce.steps.vantage import ENTERED, Machines, taken_on_wire
from koalesce.steps.wire.destination import Destination
from koalesce.steps.wire.figures import Figure, Pair, Wire, by_pair, node_to_node
from koalesce.steps.wire.measuring import Kind, Listeners, Load, Measured, measure
from koalesce.steps.wire.servers import servers

_KINDS: tuple[Kind, ...] = ("throughput", "requests", "connections")


class Throughput(Model):
    """How much arrives; without a limit it is measured for `outputs`."""

    rate: NumberMatcher | None = None
    """Bits a second, of all streams together: `{ge: 100M}`."""

    ratio: NumberMatcher | None = None
    """As a part of what the baseline carries: `{ge: 0.5}`."""


class Exchanges(Throughput):
    """How many requests are answered, or connections made; without a limit they are measured for `outputs`."""

    rate: NumberMatcher | None = None
    """So many a second, of all streams together: `{ge: 1000}`."""

    latency: Latencies | None = None
    """How long each takes: `{p99: {lt: 20ms}}`."""


class Baseline(Model):
    """Two places that are measured in turn with the others."""

    from_: Machines = Field(alias="from")
    """The one that asks."""

    to: Destination
    """The one that answers, with a port that is free there."""


class Perf(Assertion, key="perf"):
    """Measure throughput, requests or connections a second over TCP from each source to each target, one pair after the other, and compare them with limits.

    What is measured is what is named: `throughput`, `requests`, `connections`. Both ends are the probe program, in the pods' networks from their nodes: images don't matter, and no
    iperf3 has to be there. It listens at the targets itself, on a port that has to be free; behind a Service in the pods that it sends to, at their target port.

    In namespaces on one machine, and on machines that others share, rates of a run say little: compare with `ratio`, which is of what a baseline carries that is measured
    in turn with the pair in the same run, by default from the source's node to the target's (of a pair on one node: to itself; of a Service: to the node of a pod of it, another than the source's
    if there is one). Each figure is the median of `rounds`. What doesn't get through fails with what the network did (`refused`, `rejected`, `dropped`); a figure out of its limits fails at once, unless `patient`.
    """

    polls: ClassVar[bool] = True

    from_: Machines = Field(alias="from")
    """The sources: exactly one of `pod`, `pods`, `node`, `nodes`, `fixture` and `fixtures`."""

    to: Destination
    """The targets: exactly one of `pod`, `pods`, `service`, `node`, `nodes`, `fixture` and `fixtures`, with a `port`."""

    throughput: Throughput | None = None
    """Send as much as goes, and count what arrives."""

    requests: Exchanges | None = None
    """Ask, wait for the answer, ask again, on connections that stay."""

    connections: Exchanges | None = None
    """Connect, ask once, end the connection; one that can't be made fails the step."""

    baseline: Baseline | None = None
    """What `ratio` compares with; default: node to node."""

    duration: Duration = Duration(1.0)
    """How long a measurement takes."""

    rounds: Annotated[StrictInt, Field(ge=1, le=100)] = 3
    """How often each is measured."""

    streams: Annotated[StrictInt, Field(ge=1, le=64)] = 1
    """Connections at the same time."""

    size: Annotated[StrictInt, Field(ge=1, le=1048576)] = 1
    """Bytes of a request, and of its answer."""

    ip_family: Family | None = Field(default=None, alias="ipFamily")
    """IPv4 or IPv6; default: the targets' primary addresses."""

    @model_validator(mode="after")
    def _fits_together(self) -> Perf:
        if not self._asked:
            raise ValueError("say at least one of throughput, requests and connections")
        for name, to in (("to", self.to), *((("baseline.to", self.baseline.to),) if self.baseline else ())):
            if to.address is not None:
                raise ValueError(f"{name}: this step listens at the target itself, which it can't do at an address")
            if to.protocol != "TCP":
                raise ValueError(f"{name}: only TCP can be measured")
        if self.duration.seconds <= 0:
            raise ValueError("duration must be more than 0")
        if self.baseline and not self._compares:
            raise ValueError("baseline is for ratio, and none is said")
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way into the networks of both ends; pods of Services are entered from their nodes, too."""
        to = written.get("to")
        is_service = isinstance(to, Mapping) and to.get("service") is not None
        target = ENTERED if is_service else taken_on_wire(to, pods=ENTERED)
        return taken_on_wire(written.get("from"), pods=ENTERED) | target

    def title(self) -> str:
        """What is measured, from where to where."""
        return f"perf {self.from_.place()} → {self.to.place()}: {', '.join(self._asked)}"

    def attempt(self, context: StepContext) -> Outcome:
        """Measure all, one after the other."""
        pairs = self._pairs(context)
        if not isinstance(pairs, list):
            return pairs
        needed = self.duration.seconds * self.rounds * sum(
            1 + self._compares_with(kind) for kind in self._asked
        ) * len(pairs)  # fmt: skip
        if needed > context.scope.remaining():
            last: Failed | Errored | None = context.memory.get("last")
            if last is not None:
                return replace(last, final=True)
            said = f"{len(pairs)} pairs take {format_seconds(needed)} at least, longer than the step has"
            return Errored(f"{said}; give it more timeout, a shorter duration or fewer rounds", final=True)
        outcome = self._measured(pairs, context)
        if isinstance(outcome, Failed | Errored):
            context.memory["last"] = outcome
        return outcome

    def _measured(self, pairs: Sequence[Pair], context: StepContext) -> Outcome:
        with Listeners(context) as listeners:
            places = [place for pair in pairs for wire in pair.wires for place in wire.servers]
            if problem := listeners.begin(places):
                return problem
            figures: list[Figure] = []
            for pair in pairs:
                for kind in self._asked:
                    found = self._measure(pair, kind, listeners, context)
                    if not isinstance(found, Figure):
                        return found
                    figures.append(found)
        return self._judged(figures, context)

    @property
    def _asked(self) -> list[Kind]:
        return [kind for kind in _KINDS if getattr(self, kind) is not None]

    def _limits(self, kind: Kind) -> Throughput:
        limits: Throughput = getattr(self, kind)
        return limits

    def _compares_with(self, kind: Kind) -> bool:
        return self._limits(kind).ratio is not None

    @property
    def _compares(self) -> bool:
        return any(self._compares_with(kind) for kind in self._asked)

    def _pairs(self, context: StepContext) -> list[Pair] | Failed | Errored:
        wires = self._wires(self.from_, self.to, context)
        if not isinstance(wires, list):
            return wires
        if not wires:
            return Failed("there is no pair but of a place and itself", "a pair", "none", saw_nothing=True)
        if not self._compares:
            return [Pair(wire) for wire in wires]
        if self.baseline is None:
            return [Pair(wire, node_to_node(wire, self.ip_family)) for wire in wires]
        given = self._wires(self.baseline.from_, self.baseline.to, context)
        if not isinstance(given, list):
            return given
        if len(given) != 1:
            return Errored(f"the baseline is one pair, and not {len(given)}", final=True)
        return [Pair(wire, given[0]) for wire in wires]

    def _wires(self, where: Machines, to: Destination, context: StepContext) -> list[Wire] | Failed | Errored:
        sources = select(where, context)
        if not isinstance(sources, list):
            return sources
        endpoints = to.endpoints(self.ip_family, context)
        if not isinstance(endpoints, list):
            return endpoints
        served = servers(to, endpoints, context)
        if not isinstance(served, list):
            return served
        for source in (*sources, *(source for source, _ in served)):
            if not (source.machine and source.machine.exec):
                return Errored(f"the cluster gives no way to run commands on the node of {source.name}", final=True)
            if source.kind == "pod" and not source.container_id:
                return Errored(f"{source.name}: the container's ID is not known, so that its network can't be entered")
        return [
            Wire(source, endpoint.host, endpoint.label, tuple(served) if to.service else (served[index],), endpoint)
            for source in sources
            for index, endpoint in enumerate(endpoints)
            if not endpoint.uid or endpoint.uid != source.uid
        ]

    def _measure(self, pair: Pair, kind: Kind, listeners: Listeners, context: StepContext) -> Figure | Failed | Errored:
        """All rounds, those of the baseline in turn with the pair's."""
        load = Load(
            seconds=self.duration.seconds, streams=self.streams, size=self.size, family=self.ip_family or ""
        )  # fmt: skip
        turns = [pair.baseline, pair.wire] if self._compares_with(kind) and pair.baseline else [pair.wire]
        found: dict[int, list[Measured]] = {index: [] for index in range(len(turns))}
        for _ in range(self.rounds):
            for index, wire in enumerate(turns):
                port = wire.endpoint.port if wire.endpoint else listeners.port(*wire.servers[0])
                one = measure(wire.source, kind, (wire.host, port), load, context)
                if isinstance(one, Errored):
                    return one
                if problem := _problem(wire, kind, one):
                    return problem
                found[index].append(one)
        return Figure(pair.wire.name, kind, found[len(turns) - 1], found[0] if len(turns) > 1 else ())

    def _judged(self, figures: Sequence[Figure], context: StepContext) -> Outcome:
        value = {"pairs": by_pair(figures)}
        misses = [(figure, what, miss) for figure in figures for what, miss in self._misses(figure) if miss is not None]
        if not misses:
            return Passed("; ".join(map(str, figures)), value)
        figure, what, first = misses[0]
        said = f"{figure.pair}: {figure.kind}.{what} {first.message}"
        return Failed(
            said, first.expected, first.actual, "\n".join(map(str, figures)), final=not context.patient
        )  # fmt: skip

    def _misses(self, figure: Figure) -> Iterator[tuple[str, Mismatch | None]]:
        limits = self._limits(figure.kind)
        yield "rate", limits.rate.check(figure.rate) if limits.rate else None
        if limits.ratio and figure.ratio is not None:
            yield "ratio", limits.ratio.check(figure.ratio)
        if isinstance(limits, Exchanges):
            for name, limit in limits.latency or ():
                yield f"latency.{name}", limit.check(figure.latency[name]) if limit is not None else None


def _problem(wire: Wire, kind: Kind, found: Measured) -> Failed | Errored | None:
    why = f" ({found.reason})" if found.reason else ""
    if found.outcome == "error":
        return Errored(f"{wire.name}: {kind} could not be measured{why}")
    if found.outcome != "allowed":
        return Failed(f"{wire.name}: {found.outcome}{why}, expected allowed", "allowed", found.outcome)
    if found.failed:
        said = f"{wire.name}: {found.failed} of {found.failed + found.count} connections failed{why}"
        return Failed(said, "none", str(found.failed))
    if not found.count:
        return Errored(f"{wire.name}: nothing went through while {kind} was measured")
    return None

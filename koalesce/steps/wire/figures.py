"""What is measured between two places, what it's compared with, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from koalesce.addresses import Family, family_of
from koalesce.durations import format_seconds
from koalesce.records import dataclass
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.destination import Endpoint
from koalesce.steps.wire.measuring import Kind, Measured

_UNITS: Mapping[str, str] = {"throughput": "bit/s", "requests": "requests/s", "connections": "connections/s"}


@dataclass(frozen=True, slots=True)
class Wire:
    """From a source to an address, behind which the servers are; without an endpoint the port is the one that the server chose."""

    source: Source
    host: str
    label: str
    servers: tuple[tuple[Source, int], ...]
    endpoint: Endpoint | None = None

    @property
    def name(self) -> str:
        """From where to where."""
        return f"{self.source.name} → {self.label}"


@dataclass(frozen=True, slots=True)
class Pair:
    """What is measured, and what it's compared with."""

    wire: Wire
    baseline: Wire | None = None

    @property
    def wires(self) -> list[Wire]:
        """Both, or the one."""
        return [self.wire, *((self.baseline,) if self.baseline else ())]


@dataclass(frozen=True, slots=True)
class Figure:
    """What came of the rounds of one kind."""

    pair: str
    kind: Kind
    rounds: Sequence[Measured]
    others: Sequence[Measured] = ()

    @property
    def rate(self) -> float:
        """Bits, requests or connections a second."""
        return round(median(each.rate for each in self.rounds), 1)

    @property
    def ratio(self) -> float | None:
        """As a part of the baseline's; None without one."""
        usual = median(each.rate for each in self.others) if self.others else 0.0
        return round(self.rate / usual, 3) if usual else None

    @property
    def latency(self) -> dict[str, float]:
        """Percentiles, in seconds."""
        names = self.rounds[0].latency
        return {name: round(median(each.latency[name] for each in self.rounds), 6) for name in names}

    def to_value(self) -> dict[str, Any]:
        """What outputs read."""
        value: dict[str, Any] = {"rate": self.rate, "rounds": [round(each.rate, 1) for each in self.rounds]}
        if self.others:
            value |= {"ratio": self.ratio, "baseline": [round(each.rate, 1) for each in self.others]}
        return value | ({"latency": self.latency} if self.latency else {})

    def __str__(self) -> str:
        part = f", {self.ratio:g} of the baseline" if self.ratio is not None else ""
        late = f", p99 {format_seconds(self.latency['p99'])}" if self.latency else ""
        return f"{self.pair}: {_short(self.rate)}{_UNITS[self.kind]}{part}{late}"


def node_to_node(wire: Wire, family: Family | None) -> Wire:
    """From the source's machine to that of a server, another one if there is one."""
    machine = wire.source.machine
    others = [source for source, _ in wire.servers if source.machine != machine]
    server = (others or [wire.servers[0][0]])[0]
    to = server.machine
    assert machine is not None  # noqa: S101 - seen before
    assert to is not None  # noqa: S101
    addresses = [each for each in to.addresses if family is None or family_of(each) == family] or list(to.addresses)
    here = Source(kind="node", name=machine.name, uid=machine.name, **_as_place(wire.source))
    there = Source(kind="node", name=to.name, uid=to.name, **_as_place(server))
    return Wire(here, addresses[0], to.name, ((there, 0),))


def _as_place(source: Source) -> dict[str, Any]:
    return {"node": source.node, "fixture": source.fixture}


def by_pair(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """What outputs read of all pairs."""
    pairs: dict[str, dict[str, Any]] = {}
    for figure in figures:
        pairs.setdefault(figure.pair, {"pair": figure.pair})[figure.kind] = figure.to_value()
    return list(pairs.values())


def _short(number: float) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g} {letter}"
    return f"{number:.3g} "

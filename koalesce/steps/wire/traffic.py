"""Questions that are asked again and again while other steps run, and the report of how their answers went."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Any

from koalesce.durations import format_seconds
from koalesce.events import Series
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.wire.flows import Flow, unproven
from koalesce.steps.wire.series import MOST_SERIES, drawn
from koalesce.steps.wire.span import Span
from koalesce.steps.wire.streaming import Sighting, Stream, by_place
from koalesce.steps.wire.tally import Gap, Tally, percentile

PERCENTILES = ("p50", "p90", "p99")
_MOST_GAPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenGap:
    """A gap of a flow, in seconds since the first question, with the steps that ran in it."""

    flow: str
    gap: Gap
    began: float
    steps: tuple[str, ...]

    def to_value(self) -> dict[str, Any]:
        """What outputs read."""
        return {
            "flow": self.flow, "from": _rounded(self.began), "seconds": _rounded(self.gap.seconds), "lost": self.gap.lost,
            "wrong": self.gap.wrong, "steps": list(self.steps),
        }  # fmt: skip

    def __str__(self) -> str:
        counted = [f"{count} {word}" for count, word in ((self.gap.lost, "lost"), (self.gap.wrong, "wrong")) if count]
        return f"{self.flow}: {format_seconds(self.gap.seconds)}, {', '.join(counted) or 'nothing lost'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How it went. `began` is when the first question was asked, in seconds of the run's clock; `spans` are the steps since then.

    `broken` says why nothing more could be asked before the end, `unproven` which silence means nothing; else they are empty.
    """

    tallies: Sequence[Tally]
    controls: Sequence[Tally]
    began: float
    seconds: float
    shifts: Sequence[float]
    spans: Sequence[Span]
    broken: str = ""
    unproven: str = ""

    def total(self, kind: Any) -> int:
        """How many tries of all flows came to this."""
        return sum(tally.count(kind) for tally in self.tallies)

    @property
    def sent(self) -> int:
        """How many tries there were."""
        return sum(len(tally.tries) for tally in self.tallies)

    @property
    def longest_gap(self) -> float:
        """The longest gap of any flow, in seconds."""
        return max((tally.longest_gap() for tally in self.tallies), default=0.0)

    def latency(self) -> dict[str, float]:
        """Percentiles and the maximum of how long right answers took, in seconds; empty if there were none."""
        found = sorted(seconds for tally in self.tallies for seconds in tally.latencies())
        if not found:
            return {}
        return {**{name: percentile(found, float(name[1:])) for name in PERCENTILES}, "max": found[-1]}

    def gaps(self) -> list[SeenGap]:
        """The gaps of all flows, the longest first."""
        found = [
            self._seen(tally.flow, gap, shift)
            for tally, shift in zip(self.tallies, self.shifts, strict=True)
            for gap in tally.gaps()
        ]
        return sorted(found, key=lambda each: -each.gap.seconds)

    def worst(self) -> SeenGap | None:
        """The longest gap, or the longest wait where nothing was lost or wrong."""
        found = [
            self._seen(tally.flow, gap, shift)
            for tally, shift in zip(self.tallies, self.shifts, strict=True)
            if (gap := tally.longest_wait()) is not None
        ]
        return max([*found, *self.gaps()], key=lambda each: each.gap.seconds, default=None)

    def _seen(self, flow: Flow, gap: Gap, shift: float) -> SeenGap:
        began, ended = shift + gap.began, shift + gap.ended
        steps = tuple(span.title for span in self.spans if span.began <= ended and span.ended >= began)
        return SeenGap(flow=flow.name, gap=gap, began=began - self.began, steps=steps)

    def to_value(self) -> dict[str, Any]:
        """What outputs read; times are in seconds."""
        return {
            "sent": self.sent, "lost": self.total("lost"), "wrong": self.total("wrong"), "seconds": _rounded(self.seconds),
            "longestGap": _rounded(self.longest_gap), "latency": _all_rounded(self.latency()),
            "gaps": [gap.to_value() for gap in self.gaps()[:_MOST_GAPS]],
            "flows": [
                {
                    "name": tally.flow.name, "sent": len(tally.tries), "lost": tally.count("lost"),
                    "wrong": tally.count("wrong"), "longestGap": _rounded(tally.longest_gap()),
                    "problems": dict(tally.problems),
                }
                for tally in self.tallies
            ],
        }  # fmt: skip

    def series(self) -> tuple[Series, ...]:
        """What reports draw: of many flows those that went worst, and the others together."""
        ordered = sorted(
            zip(self.tallies, self.shifts, strict=True),
            key=lambda pair: (pair[0].count("right") - len(pair[0].tries), -pair[0].longest_gap()),
        )
        alone = ordered if len(ordered) <= MOST_SERIES else ordered[: MOST_SERIES - 1]
        groups = [(tally.flow.name, [(tally, shift)]) for tally, shift in alone]
        if rest := ordered[len(alone) :]:
            groups.append((f"{len(rest)} others together", rest))
        return tuple(drawn(title, pairs, began=self.began, seconds=self.seconds) for title, pairs in groups)

    def summary(self) -> str:
        """The figures in a line."""
        latency = self.latency()
        parts = [f"{self.sent} tries", f"{self.total('lost')} lost", f"{self.total('wrong')} wrong"]
        parts += [f"longest gap {format_seconds(self.longest_gap)}"]
        parts += [f"p99 {format_seconds(latency['p99'])}"] if latency else []
        return ", ".join(parts)

    def timeline(self) -> str:
        """Steps and gaps on one axis, in seconds since the first question; then what was wrong with answers, by flow."""
        rows = [(span.began - self.began, span.ended - self.began, span.title) for span in self.spans]
        worst, gaps = self.worst(), self.gaps()
        gaps += [worst] if worst is not None and worst not in gaps else []
        rows += [(each.began, each.began + each.gap.seconds, f"  ! {each}") for each in gaps[:_MOST_GAPS]]
        lines = ["seconds since the first try; ! is a gap"]
        lines += [f"{max(0.0, began):8.2f} to {ended:8.2f}  {text}" for began, ended, text in sorted(rows)]
        lines += [f"… and {len(gaps) - _MOST_GAPS} shorter gaps"] if len(gaps) > _MOST_GAPS else []
        return "\n".join([*lines, *self._problems()])

    def _problems(self) -> Iterator[str]:
        for tally in self.tallies:
            for problem, count in tally.problems.most_common():
                yield f"{tally.flow.name}: {count} times {problem}"


@dataclass(slots=True)
class Traffic:
    """Flows that are being asked."""

    flows: Sequence[Flow]
    now: Callable[[], float]
    _tallies: list[Tally] = field(init=False)
    _shifts: list[float] = field(init=False)
    _streams: list[Stream] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._tallies = [Tally(flow) for flow in self.flows]
        self._shifts = [float("inf")] * len(self.flows)

    def begin(self, every: float, context: StepContext) -> Failed | Errored | None:
        """Ask, on all machines at the same time, until told to stop; None once each of them has heard something."""
        try:
            self._streams += [Stream(group, every, context, self._note) for group in by_place(self.flows, context)]
            problems = [problem for each in self._streams if (problem := each.await_first(context.scope.cancel))]
        except BaseException:
            self._end()
            raise
        if problems:
            self._end()
            return Errored(problems[0])
        return None

    def stop(self, spans: Sequence[Span]) -> Report:
        """Ask no more, and tell how it went; `spans` are the steps until now."""
        broken = self._end()
        pairs = list(zip(self._tallies, self._shifts, strict=True))
        told = [(tally, shift) for tally, shift in pairs if not tally.flow.is_control]
        begun = [shift + tally.tries[0].at for tally, shift in pairs if tally.tries]
        began = min(begun, default=self.now())
        return Report(
            tallies=[tally for tally, _ in told],
            controls=[tally for tally, _ in pairs if tally.flow.is_control],
            began=began,
            seconds=self.now() - began,
            shifts=[shift for _, shift in told],
            spans=[span for span in spans if span.ended >= began],
            broken=broken,
            unproven=unproven(self.flows, [bool(tally.count("right")) for tally in self._tallies]),
        )

    def _end(self) -> str:
        for stream in self._streams:
            stream.tell()
        problems = [problem for stream in self._streams if (problem := stream.end())]
        self._streams.clear()
        return problems[0] if problems else ""

    def _note(self, sighting: Sighting) -> None:
        """Take what was seen. The clock of a source is ours but for a shift, which the quickest of its lines tells best."""
        with self._lock:
            self._tallies[sighting.flow].add(sighting.at, sighting.observed)
            shift = self.now() - sighting.at - sighting.observed.seconds
            self._shifts[sighting.flow] = min(self._shifts[sighting.flow], shift)


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


def _all_rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in values.items()}

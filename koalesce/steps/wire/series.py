"""Tries over time, in so many spans as a picture has room for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from koalesce.events import Series
from koalesce.steps.wire.tally import Tally, Try, percentile

MOST_SERIES = 12
_SPANS = 120
_SHORTEST = 0.01  # seconds of a span


def drawn(title: str, tallies: Iterable[tuple[Tally, float]], *, began: float, seconds: float) -> Series:
    """All tries of some flows; each tally with what is to be added to its times so that they are of the same clock as `began`."""
    width = max(seconds / _SPANS, _SHORTEST)
    count = max(1, min(_SPANS, int(seconds / width) + 1))
    spans: list[list[Try]] = [[] for _ in range(count)]
    silent = set()
    for tally, shift in tallies:
        for each in tally.tries:
            spans[min(max(int((shift + each.at - began) / width), 0), count - 1)].append(each)
            if tally.flow.hopes_for_silence:
                silent.add(id(each))  # silence takes no time
    taken = [sorted(each.seconds for each in span if each.kind == "right" and id(each) not in silent) for span in spans]
    return Series(
        title=title,
        ago=round(seconds, 4),
        width=round(width, 6),
        right=_of(spans, "right"),
        lost=_of(spans, "lost"),
        wrong=_of(spans, "wrong"),
        usual=tuple(round(percentile(each, 50.0), 6) if each else None for each in taken),
        slowest=tuple(round(each[-1], 6) if each else None for each in taken),
    )


def _of(spans: Sequence[Sequence[Try]], kind: str) -> tuple[int, ...]:
    return tuple(sum(each.kind == kind for each in span) for span in spans)

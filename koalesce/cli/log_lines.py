"""Lines of several logs on one axis of time; a line without a time stays behind the one before it."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

_EARLIEST = datetime.min.replace(tzinfo=UTC)
TimeOf = Callable[[str], datetime | None]


class Line(NamedTuple):
    """A line, where it stands on the axis, and whose it is: the number of its log."""

    time: datetime
    log: int
    text: str


class Axis:
    """The times of one log's lines, one after the other: they never go back, or its lines would change places."""

    def __init__(self, log: int, time_of: TimeOf) -> None:
        self._log = log
        self._time_of = time_of
        self._latest = _EARLIEST

    def place(self, text: str) -> Line:
        """The next line of the log."""
        self._latest = max(self._latest, self._time_of(text) or self._latest)
        return Line(self._latest, self._log, text)


def placed(texts: Iterable[str], axis: Axis) -> Iterator[Line]:
    """The lines of a log with their times; those before the first one with a time get that one's."""
    lines = (axis.place(text) for text in texts)
    early: list[Line] = []
    for line in lines:
        if line.time > _EARLIEST:
            yield from (before._replace(time=line.time) for before in early)
            yield line
            break
        early.append(line)
    else:
        yield from early
    yield from lines


def since_then(lines: Iterable[Line], start: datetime | None) -> Iterator[Line]:
    """Those from a time on; a log without any time is taken whole, as nothing can be said of it."""
    return (line for line in lines if start is None or line.time >= start or line.time == _EARLIEST)


def last(lines: Iterable[Line], number: int | None) -> Iterable[Line]:
    """So many at the end, or all."""
    return lines if number is None else deque(lines, maxlen=number)


def merged(logs: Sequence[Iterable[Line]]) -> Iterator[Line]:
    """The lines of several logs in the order of time; of one moment, those of the first log first."""
    return heapq.merge(*logs, key=lambda line: (line.time, line.log))


def ready(waiting: Iterable[Line]) -> list[Line]:
    """Lines that came at about the same time, in the order of their own times; those of one log stay in theirs."""
    by_log = itertools.groupby(sorted(waiting, key=lambda line: line.log), key=lambda line: line.log)
    return list(merged([list(lines) for _, lines in by_log]))

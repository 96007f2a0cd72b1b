"""What came of all tries of one question: how many were lost or wrong, how long answers took, and when there were none."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from typing import Literal

from koalesce.records import dataclass
from koalesce.steps.wire.flows import Flow, is_answered
from koalesce.steps.wire.probing import Observed

Kind = Literal["right", "lost", "wrong", "untried"]
_SAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time without a right answer in which some try got none: from when the first try in it began to the next right answer.

    `began` and `ended` are seconds since the source began.
    """

    began: float
    ended: float
    lost: int
    wrong: int

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Try:
    """One try: when it began, how long it took, and what came of it."""

    at: float
    seconds: float
    kind: Kind

    @property
    def answered(self) -> float:
        """When its end was there."""
        return self.at + self.seconds


@dataclass(slots=True)
class Tally:
    """All tries of a flow, in the order in which they ended."""

    flow: Flow
    tries: list[Try] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)

    def add(self, at: float, observed: Observed) -> None:
        """Note what came of a try."""
        problem = self.flow.look(observed)
        self.tries.append(Try(at, observed.seconds, self._kind(problem, observed)))
        if problem and (problem in self.problems or len(self.problems) < _SAMPLES):
            self.problems[problem] += 1

    def _kind(self, problem: str, observed: Observed) -> Kind:
        if not problem:
            return "right"
        if self.flow.hopes_for_silence:
            return "untried" if observed.outcome == "error" else "wrong"
        return "wrong" if is_answered(observed) else "lost"

    def count(self, kind: Kind) -> int:
        """How many tries came to this."""
        return sum(each.kind == kind for each in self.tries)

    def latencies(self) -> list[float]:
        """How long right answers took; silence that was hoped for took none."""
        if self.flow.hopes_for_silence:
            return []
        return [each.seconds for each in self.tries if each.kind == "right"]

    def longest_wait(self) -> Gap | None:
        """The longest time in which it was asked and no right answer came, lost or not; None where silence is what is right."""
        if self.flow.hopes_for_silence:
            return None
        return max((_gap(asked, end) for asked, end in self._waits()), key=lambda gap: gap.seconds, default=None)

    def longest_gap(self) -> float:
        """How long that was, in seconds; 0 if there was none."""
        longest = self.longest_wait()
        return longest.seconds if longest is not None else 0.0

    def gaps(self) -> list[Gap]:
        """The times in which tries were lost or wrong."""
        if self.flow.hopes_for_silence:
            return self._leaks()
        found = [_gap(asked, end) for asked, end in self._waits()]
        return [gap for gap in found if gap.lost or gap.wrong]

    def _waits(self) -> list[tuple[list[Try], float]]:
        """The tries that began between two right answers, in order, and when the second of these came (at last: when nothing more was waited for).

        Before the first of these tries nobody asked: a probe that stands still itself makes no gap.
        """
        begun = sorted(self.tries, key=lambda each: each.at)
        ends = sorted(each.answered for each in begun if each.kind == "right")
        ends += [max(each.answered for each in begun)] if begun else []
        found, index = [], 0
        for end in ends:
            asked = begun[index : (index := bisect.bisect_left(begun, end, lo=index, key=lambda each: each.at))]
            if asked:
                found.append((asked, end))
        return found

    def _leaks(self) -> list[Gap]:
        """Rows of tries that something answered although nothing was to."""
        rows = itertools.groupby(sorted(self.tries, key=lambda each: each.at), key=lambda each: each.kind == "wrong")
        leaks = [list(row) for is_leak, row in rows if is_leak]
        return [_gap(leak, max(each.answered for each in leak)) for leak in leaks]


def _gap(tries: Sequence[Try], end: float) -> Gap:
    return Gap(began=tries[0].at, ended=end, lost=_of(tries, "lost"), wrong=_of(tries, "wrong"))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of the sorted values don't exceed (the nearest rank)."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _of(tries: Sequence[Try], kind: Kind) -> int:
    return sum(each.kind == kind for each in tries)

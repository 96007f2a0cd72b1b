"""What the changes of cases came to, in one outcome."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from koalesce.durations import format_seconds
from koalesce.events import Grid
from koalesce.matching.mismatch import and_more
from koalesce.netpol.cases import Case, Change
from koalesce.records import dataclass
from koalesce.steps.base import Ended, Errored, Failed, Outcome, Passed

_MOST_DETAILED = 5


@dataclass(slots=True)
class Results:
    """Notes how each change ended. `total` is how many cases there are."""

    total: int
    _seconds: list[float] = field(default_factory=list)
    _pairs: int = 0
    _cases: list[dict[str, Any]] = field(default_factory=list)
    _grids: list[Grid] = field(default_factory=list)
    _last_grids: list[Grid] = field(default_factory=list)
    _failed: list[tuple[str, Failed, Sequence[Mapping[str, Any]]]] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """How many cases have failed."""
        return len(self._failed)

    def _draw(self, title: str, outcome: Passed | Failed) -> None:
        """Keep what reports draw: of cases that passed the last one's, of those that failed the first few."""
        drawn = [replace(grid, title=title) for grid in outcome.grids]
        if isinstance(outcome, Passed):
            self._last_grids = drawn
        elif len(self._grids) < _MOST_DETAILED:
            self._grids += drawn

    def begin(self, case: Case) -> None:
        """A case begins."""
        self._cases.append({"name": case.name, "changes": []})

    def note(self, title: str, change: Change, ended: Ended, policies: Sequence[Mapping[str, Any]]) -> None:
        """How a change of the case ended; `policies` are all that were in force."""
        told = {"title": change.title, "seconds": round(ended.seconds, 3)}
        if isinstance(ended.outcome, Passed | Failed):
            self._draw(title, ended.outcome)
        match ended.outcome:
            case Passed(value=value):
                self._seconds.append(ended.seconds)
                self._pairs += len(value["pairs"])
                self._cases[-1]["changes"].append({**told, "pairs": len(value["pairs"])})
            case Failed() as failed:
                self._failed.append((title, failed, list(policies)))

    def outcome(self) -> Outcome:
        """Passed with what was measured, or the cases that failed."""
        if self._failed:
            return self._failure()
        what = f"{_several(self.total, 'case')}, " if self.total > 1 else ""
        latency = self._latency()
        said = f"{what}{_several(len(self._seconds), 'change')}, {self._pairs} pairs as expected"
        if not latency:
            return Errored("nothing was tried", final=True)
        shown = ", ".join(f"{format_seconds(latency[key])} {word}" for key, word in _WORDS.items())
        value = {"cases": self._cases, "latency": latency, "pairs": self._pairs}
        return Passed(f"{said}; in effect after {shown}", value, grids=tuple(self._last_grids))

    def _failure(self) -> Failed:
        title, first, _ = self._failed[0]
        left_out = self.total - len(self._cases)
        cases = f"{len(self._failed)} of {self.total} cases differ: " if self.total > 1 else ""
        more = and_more(len(self._failed) - 1, "case") + (f"; {left_out} were left out" if left_out else "")
        lines: list[str] = []
        for name, failed, policies in self._failed[:_MOST_DETAILED]:
            lines += [f"{name}: {failed.message}", failed.detail, "policies in force:", *map(_written, policies)]
        lines += [f"{name}: {failed.message}" for name, failed, _ in self._failed[_MOST_DETAILED:]]
        said = f"{cases}{title}: {first.message}{more}"
        return Failed(said, first.expected, first.actual, "\n".join(lines), grids=tuple(self._grids))

    def _latency(self) -> dict[str, float]:
        """Seconds from a change until it was in effect: the middle one, the 95th of a hundred, and the longest."""
        ordered = sorted(self._seconds)
        if not ordered:
            return {}
        ranks = {"p50": 0.5, "p95": 0.95, "max": 1.0}
        return {key: round(ordered[math.ceil(rank * len(ordered)) - 1], 3) for key, rank in ranks.items()}


_WORDS = {"p50": "(median)", "p95": "(95 %)", "max": "at most"}


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _written(policy: Mapping[str, Any]) -> str:
    return f"    {policy['metadata']['namespace']}/{policy['metadata']['name']}: {json.dumps(policy['spec'])}"

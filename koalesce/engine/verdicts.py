"""When a row of looks at the same thing is decided: eventually, stable for a time, consistently, or never.

Each rule sees every outcome with its time and says whether that decides the step; it also says when the next look must come at
the latest. Times are seconds of the engine's clock. Nothing here waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from koalesce.durations import format_seconds
from koalesce.steps.base import Errored, Failed, Outcome, Passed

_AT_THE_END = 2.0  # seconds before the deadline in which an answer that doesn't come has been cut off by it


class Rule(Protocol):
    """How outcomes over time become one."""

    settled: float | None  # when it first held for good, as far as one knows

    def decide(self, outcome: Outcome, now: float) -> Outcome | None:
        """The final outcome, or None to look again."""

    def latest(self, now: float) -> float:
        """The time of the next look at the latest."""

    def finish(self, now: float) -> None:
        """No more time than this: the next look decides."""


@dataclass(slots=True)
class Doom:
    """What looks as if it could no longer hold (`final`, or `final_after` a time in which nothing about it changes)."""

    _message: str = ""
    _due: float | None = None

    def is_certain(self, outcome: Outcome, now: float) -> bool:
        """Whether there is no hope left, now that this was seen."""
        if getattr(outcome, "final", False):
            return True
        if not isinstance(outcome, Failed) or outcome.final_after is None:
            self._due = None
            return False
        if self._due is None or outcome.message != self._message:
            self._message, self._due = outcome.message, now + outcome.final_after
        return now >= self._due

    def latest(self, deadline: float) -> float:
        """The time of the next look at the latest: when there would be no hope left, or the deadline."""
        return deadline if self._due is None else min(deadline, self._due)


@dataclass(slots=True)
class Last:
    """What was seen last, for when the deadline cuts off the look after it."""

    _failed: Failed | None = None

    def known(self, outcome: Outcome, left: float) -> Outcome:
        """What is known, so many seconds before the deadline: where an answer is late by then, what the look before has found, if that was a failure."""
        if isinstance(outcome, Errored) and outcome.late and left < _AT_THE_END and self._failed is not None:
            said = f"{self._failed.message} (a look after that was cut off by the deadline: {outcome.message})"
            return replace(self._failed, message=said)
        self._failed = outcome if isinstance(outcome, Failed) else None
        return outcome


@dataclass(slots=True)
class Eventually:
    """Holds once before the deadline; the last look is exactly on it."""

    deadline: float
    settled: float | None = None
    _doom: Doom = field(default_factory=Doom)
    _last: Last = field(default_factory=Last)

    def decide(self, outcome: Outcome, now: float) -> Outcome | None:
        """Decided by the first pass, by something final, or by the deadline."""
        if isinstance(outcome, Passed):
            self.settled = now
            return outcome
        known = self._last.known(outcome, self.deadline - now)
        if self._doom.is_certain(outcome, now):
            return outcome
        return known if now >= self.deadline else None

    def latest(self, now: float) -> float:
        """The deadline, or when what is seen becomes hopeless."""
        return self._doom.latest(self.deadline)

    def finish(self, now: float) -> None:
        """The next look is on the deadline."""
        self.deadline = min(self.deadline, now)


@dataclass(slots=True)
class StableFor:
    """Holds without a break for `hold` seconds, after it first held before the deadline."""

    deadline: float
    hold: float
    settled: float | None = None
    _breaks: int = 0
    _is_over: bool = False
    _doom: Doom = field(default_factory=Doom)
    _last: Last = field(default_factory=Last)

    def decide(self, outcome: Outcome, now: float) -> Outcome | None:
        """Decided when it has held long enough, or when it doesn't hold at the deadline or later."""
        if isinstance(outcome, Passed):
            self.settled = now if self.settled is None else self.settled
            self._doom, self._last = Doom(), Last()
            if now - self.settled < self.hold:
                return self._cut_short(outcome, now)
            return replace(outcome, message=f"{outcome.message}, for {format_seconds(self.hold)}")
        self._breaks += self.settled is not None
        self.settled = None
        known = self._last.known(outcome, self.deadline - now)
        if not self._doom.is_certain(outcome, now):
            if now < self.deadline:
                return None
            outcome = known
        if isinstance(outcome, Failed) and self._breaks:
            times = "once" if self._breaks == 1 else f"{self._breaks} times"
            said = f"{outcome.message} (held, but broke {times})"
            return Failed(
                said, outcome.expected, outcome.actual, outcome.detail, grids=outcome.grids, sessions=outcome.sessions,
                routes=outcome.routes,
            )  # fmt: skip
        return outcome

    def latest(self, now: float) -> float:
        """The end of the hold, while it holds; else as with `Eventually`."""
        return self._doom.latest(self.deadline) if self.settled is None else self.settled + self.hold

    def finish(self, now: float) -> None:
        """What hasn't held long enough at the next look has failed."""
        self.deadline = min(self.deadline, now)
        self._is_over = True

    def _cut_short(self, outcome: Passed, now: float) -> Failed | None:
        """It holds, but not for long enough: wait, where there is time."""
        if not self._is_over:
            return None
        held = format_seconds(now - (self.settled or now))
        return Failed(f"{outcome.message}, but only for {held} until it was stopped", format_seconds(self.hold), held)


@dataclass(slots=True)
class Consistently:
    """Holds at every look from now on until `end`."""

    end: float
    settled: float | None = None
    _looks: int = 0

    def decide(self, outcome: Outcome, now: float) -> Outcome | None:
        """Decided by the first look at which it doesn't hold, or at the end."""
        self._looks += 1
        if not isinstance(outcome, Passed):
            return outcome
        self.settled = now if self.settled is None else self.settled
        return (
            replace(outcome, message=f"{outcome.message}, at all of {self._looks} looks") if now >= self.end else None
        )

    def latest(self, now: float) -> float:
        """The end."""
        return self.end

    def finish(self, now: float) -> None:
        """The next look is at the end."""
        self.end = min(self.end, now)


@dataclass(slots=True)
class Never:
    """Holds at no look until `end`. An error is no proof of absence: one at the last look decides as error.

    Nor is it one that there was nothing to look at, at any look, unless that is meant (`may_not_exist`).
    """

    end: float
    may_not_exist: bool = False
    settled: float | None = None
    _looks: int = 0
    _errors: list[Errored] = field(default_factory=list)
    _sights: int = 0

    def decide(self, outcome: Outcome, now: float) -> Outcome | None:
        """Decided by the first look at which it holds, by a final error, or at the end."""
        self._looks += 1
        match outcome:
            case Passed(message=message):
                return Failed(f"was never to hold, but did: {message}", expected="never", actual=message, final=True)
            case Errored(final=True):
                return outcome
            case Errored():
                self._errors.append(outcome)
            case Failed(saw_nothing=True) if not self.may_not_exist:
                pass
            case _:
                self._sights += 1
        if now < self.end:
            return None
        if self._errors:
            count = len(self._errors)
            return Errored(f"{count} of {self._looks} looks could not tell: {self._errors[-1].message}")
        if not self._sights:
            said = f"{getattr(outcome, 'message', '')}, so that it never held proves nothing; say mayNotExist: true if that is meant"
            return Failed(said, "something to look at", f"nothing at {self._looks} looks")
        self.settled = now
        return Passed(f"held at none of {self._looks} looks")

    def latest(self, now: float) -> float:
        """The end."""
        return self.end

    def finish(self, now: float) -> None:
        """The next look is at the end."""
        self.end = min(self.end, now)

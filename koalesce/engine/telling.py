"""What is told of one run of a step: that it begins, what its attempts saw that is new, how it ended."""

from __future__ import annotations

from collections.abc import Callable

from koalesce.clock import Clock
from koalesce.engine.attempts import Looked
from koalesce.engine.explaining import Sights
from koalesce.engine.judging import outcome_name
from koalesce.engine.sections import Section
from koalesce.engine.timeline import Timeline
from koalesce.events import AnyEvent, Status, StepAttempted, StepFinished, StepStarted
from koalesce.spec.entries import StepEntry
from koalesce.steps.base import Outcome


class Telling:
    """The events of one run of a step. `sights` is what its attempts have seen, over time."""

    def __init__(
        self, section: Section, index: int, entry: StepEntry, *,
        emit: Callable[[AnyEvent], None], timeline: Timeline, clock: Clock,
    ) -> None:  # fmt: skip
        self.title = entry.title
        self.sights = Sights(clock)
        self._section, self._index, self._entry = section, index, entry
        self._emit, self._timeline, self._clock = emit, timeline, clock
        self._told = ""

    def start(self, timeout: float, ongoing: str = "") -> None:
        """It begins."""
        section, entry, title = self._section, self._entry, self._section.group + self.title
        self._timeline.begin(title, self._clock.monotonic())
        self._emit(
            StepStarted(
                spec=section.spec, test=section.test, section=section.name, index=self._index, type=entry.key,
                title=title, line=entry.line, timeout=round(timeout, 3), ongoing=ongoing,
            )
        )  # fmt: skip

    def attempted(self, number: int, outcome: Outcome) -> None:
        """An attempt has been made; it's told of if it saw something new."""
        self.sights.note(outcome)
        message = getattr(outcome, "message", "")
        if message == self._told:
            return
        self._told = message
        section = self._section
        self._emit(
            StepAttempted(
                spec=section.spec, test=section.test, section=section.name, index=self._index, attempt=number,
                outcome=outcome_name(outcome), message=message,
            )
        )  # fmt: skip

    def finish(self, status: Status, looked: Looked) -> StepFinished:
        """It has ended."""
        section, entry, outcome = self._section, self._entry, looked.outcome
        self._timeline.finish(self._clock.monotonic())
        event = StepFinished(
            spec=section.spec, test=section.test, section=section.name, index=self._index, type=entry.key,
            title=section.group + self.title, line=entry.line, status=status, attempts=looked.attempts, seconds=round(looked.seconds, 4),
            message=getattr(outcome, "message", ""), expected=getattr(outcome, "expected", None),
            actual=getattr(outcome, "actual", None), detail=getattr(outcome, "detail", ""),
            settled=None if looked.settled is None else round(looked.settled, 4), grids=getattr(outcome, "grids", ()),
            series=getattr(outcome, "series", ()), sessions=getattr(outcome, "sessions", ()),
            routes=getattr(outcome, "routes", ()),
        )  # fmt: skip
        self._emit(event)
        return event

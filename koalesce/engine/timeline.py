"""When the steps of a test ran, for what goes on beside them."""

from __future__ import annotations

from dataclasses import dataclass, field

from koalesce.steps.wire.span import Span


@dataclass(slots=True)
class Timeline:
    """The steps of a test in their order, one after the other."""

    _done: list[Span] = field(default_factory=list)
    _title: str = ""
    _began: float | None = None

    def begin(self, title: str, now: float) -> None:
        """A step begins."""
        self._title, self._began = title, now

    def finish(self, now: float) -> None:
        """The step that has begun ends."""
        if self._began is not None:
            self._done.append(Span(title=self._title, began=self._began, ended=now))
            self._began = None

    def until(self, now: float) -> list[Span]:
        """All steps until now, with the one that runs."""
        running = [Span(title=self._title, began=self._began, ended=now)] if self._began is not None else []
        return [*self._done, *running]

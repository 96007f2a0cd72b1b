"""The step `sleep`: let time pass."""

from __future__ import annotations

from typing import ClassVar

from koalesce.durations import Duration
from koalesce.steps.base import Action, Hold, Outcome, StepContext


class Sleep(Action, key="sleep"):
    """Let time pass. Waiting for something is better said with `wait-for` or an assertion.

    It fails where the test's time, or a `timeout` of its own, ends before that.
    """

    short_field: ClassVar[str | None] = "duration"
    writes: ClassVar[bool] = False

    duration: Duration
    """How long: `5s`."""

    def title(self) -> str:
        """How long."""
        return f"sleep {self.duration}"

    def act(self, context: StepContext) -> Outcome:
        """Ask for the time to pass."""
        return Hold(self.duration)

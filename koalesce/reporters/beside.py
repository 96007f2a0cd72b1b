"""A run that is shown beside an earlier one: what differs is said when it ends."""

from __future__ import annotations

from koalesce.events import AnyEvent, RunFinished
from koalesce.reporters import View
from koalesce.reporters.comparison import compare, told
from koalesce.reporters.record import RunRecord

_MOST = 20  # changes of a kind


class Beside:
    """A view that also compares the run with an earlier one."""

    def __init__(self, view: View, earlier: RunRecord) -> None:
        self._view = view
        self._earlier = earlier
        self._record = RunRecord()

    def handle(self, event: AnyEvent) -> None:
        """Show the event; at the end of the run, what differs."""
        self._record.apply(event)
        self._view.handle(event)
        if isinstance(event, RunFinished):
            for line in told(compare(self._earlier, self._record)):
                self._view.say(line)

    def tick(self, elapsed: float) -> None:
        """As the view does."""
        self._view.tick(elapsed)

    def say(self, text: str) -> None:
        """As the view does."""
        self._view.say(text)

    def close(self) -> None:
        """As the view does."""
        self._view.close()

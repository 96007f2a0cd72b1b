"""A run that is shown beside an earlier one: what differs is said when it ends."""

from __future__ import annotations

from collections.abc import Iterator

from koalesce.durations import format_seconds
from koalesce.events import AnyEvent, RunFinished
from koalesce.reporters import View
from koalesce.reporters.cases import Case
from koalesce.reporters.comparison import Change, Comparison, compare, headline, ratio
from koalesce.reporters.record import RunRecord
from koalesce.reporters.text import location, one_line

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


def told(found: Comparison) -> Iterator[str]:
    """What differs, a line for each test."""
    run = f"run {one_line(found.run)}" if found.run else "an earlier run"
    yield f"compared with {run}{f' of {one_line(found.at)}' if found.at else ''}: {headline(found)}{pace(found)}"
    for word, changes in (("newly failing", found.broken), ("fixed", found.fixed)):
        yield from _listed(f"{word}: {_place(each)}{_why(each.after)}" for each in changes)
    for word, changes in (("slower", found.slower), ("faster", found.faster)):
        yield from _listed(f"{word}: {_place(each)}: {times(each)}" for each in changes)


def times(change: Change) -> str:
    """How long a test takes, and took."""
    if change.before is None or change.after is None:
        return ""
    mostly = f", mostly in {one_line(change.step)}" if change.step else ""
    was = format_seconds(change.before.seconds)
    return f"{format_seconds(change.after.seconds)}, was {was} ({ratio(change):.1f} times{mostly})"


def pace(found: Comparison) -> str:
    """How all tests together have changed, where that is worth a word."""
    is_told = found.pace is not None and not 1 / 1.2 < found.pace < 1.2
    return f"; tests take {found.pace:.1f} times as long on the whole" if is_told else ""


def _listed(lines: Iterator[str]) -> Iterator[str]:
    every = list(lines)
    yield from every[:_MOST]
    if len(every) > _MOST:
        yield f"… and {len(every) - _MOST} more that are {every[0].partition(':')[0]}"


def _place(change: Change) -> str:
    line = change.after.line if change.after else 0
    return f"{location(change.spec, line)} {one_line(change.name) or 'setup'}"


def _why(case: Case | None) -> str:
    first = case.message.strip().partition("\n")[0] if case else ""
    return f": {one_line(first)}" if first else ""

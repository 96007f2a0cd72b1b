"""Plain lines for logs and pipes: one for each change, in a stable form, and a sign of life while nothing changes."""

from __future__ import annotations

from itertools import islice
from typing import TextIO

from koalesce.events import AnyEvent
from koalesce.reporters.activity import Activity, activities
from koalesce.reporters.narration import Line, Narrator, Style
from koalesce.reporters.record import RunRecord
from koalesce.reporters.text import inert, one_line

HEARTBEAT = 30.0
_ROWS = 5  # of a heartbeat
_COLORS: dict[Style, str] = {"passed": "32", "failed": "31", "error": "35", "skipped": "33", "dim": "2"}


class Plain:
    """Writes `go test`-like lines to a stream, each at once."""

    def __init__(self, stream: TextIO, *, verbose: bool = False, phases: bool = True, color: bool = False) -> None:
        self._stream = stream
        self._color = color
        self._record = RunRecord()
        self._narrator = Narrator(self._record, verbose=verbose, phases=phases)
        self._wrote = 0.0

    def handle(self, event: AnyEvent) -> None:
        """Write what an event is worth."""
        self._record.apply(event)
        self._write(self._narrator.tell(event), event.elapsed)

    def tick(self, elapsed: float) -> None:
        """After half a minute of silence, write what is being waited for."""
        if elapsed - self._wrote < HEARTBEAT:
            return
        found = list(activities(self._record, elapsed))
        lines = [_heartbeat(activity) for activity in islice(found, _ROWS)]
        if len(found) > _ROWS:
            lines.append(Line(f"... and {len(found) - _ROWS} more", "dim"))
        self._write(lines, elapsed)

    def say(self, text: str) -> None:
        """Write a line of the program's own."""
        self._write([Line(one_line(text))], self._record.elapsed)

    def close(self) -> None:
        """Every line has been written already."""

    def _write(self, lines: list[Line], elapsed: float) -> None:
        if not lines:
            return
        self._wrote = elapsed
        self._stream.write("".join(f"{self._paint(line)}\n" for line in lines))
        self._stream.flush()

    def _paint(self, line: Line) -> str:
        text = inert(line.text)
        code = _COLORS.get(line.style) if self._color else None
        return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _heartbeat(activity: Activity) -> Line:
    where = ": ".join(part for part in (activity.spec, activity.name, activity.step) if part)
    seen = f": {activity.seen}" if activity.seen else ""
    return Line(f"... still running: {where} ({activity.time}){seen}", "dim")

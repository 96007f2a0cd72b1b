"""Plain lines for logs and pipes: one for each change, in a stable form, and a sign of life while nothing changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

from koalesce.events import AnyEvent
from koalesce.reporters.activity import Activity, activities
from koalesce.reporters.annotations import annotate
from koalesce.reporters.folding import Fold, Folds, GitHubFolds, folded
from koalesce.reporters.narration import Line, Narrator, Style
from koalesce.reporters.record import RunRecord
from koalesce.reporters.text import inert, one_line

HEARTBEAT = 30.0
_ROWS = 5  # of a heartbeat
_COLORS: dict[Style, str] = {"passed": "32", "failed": "31", "error": "35", "skipped": "33", "dim": "2"}


class Plain:
    """Writes `go test`-like lines to a stream, each at once; what went well is in `folds`, where there are any."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        phases: bool = True,
        color: bool = False,
        folds: Folds | None = None,
    ) -> None:
        self._stream = stream
        self._color = color
        self._folds = folds
        self._fold: Fold | None = None  # the one that is open
        self._at = ""
        self._record = RunRecord()
        self._narrator = Narrator(self._record, verbose=verbose, phases=phases)
        self._wrote = 0.0

    def handle(self, event: AnyEvent) -> None:
        """Write what an event is worth."""
        self._at = max(self._at, event.at)  # of tests side by side, events may be a little out of order
        self._record.apply(event)
        lines = self._narrator.tell(event)
        fold, inside = (folded(event, lines) if self._folds and lines else None) or (None, lines)
        self._write(inside, event.elapsed, fold)

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
        """Every line has been written already; the last fold ends."""
        self._write_raw(list(self._turn_to(None)))

    def _write(self, lines: Sequence[Line], elapsed: float, fold: Fold | None = None) -> None:
        if not lines:
            return
        self._wrote = elapsed
        self._write_raw([*self._turn_to(fold), *(self._paint(line) for line in lines)])

    def _turn_to(self, fold: Fold | None) -> Iterator[str]:
        """The lines between what has been written and what belongs to this fold."""
        if self._folds is None or (fold == self._fold and not (fold and fold.is_whole)):
            return
        if self._fold is not None:
            yield self._folds.end(self._at)
        if fold is not None:
            yield self._folds.begin(fold.title, self._at)
        self._fold = fold

    def _write_raw(self, lines: Sequence[str]) -> None:
        if lines:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()

    def _paint(self, line: Line) -> str:
        text = inert(line.text)
        code = _COLORS.get(line.style) if self._color else None
        return f"\x1b[{code}m{text}\x1b[0m" if code else text


class GitHub(Plain):
    """The lines as GitHub's log has them: folded, and at the end an annotation for whatever did not pass."""

    def __init__(
        self, stream: TextIO, *, here: Path, workspace: Path | None, verbose: bool = False, color: bool = False
    ) -> None:
        super().__init__(stream, verbose=verbose, color=color, folds=GitHubFolds())
        self._here = here
        self._workspace = workspace

    def close(self) -> None:
        """Annotate what did not pass."""
        super().close()
        self._write_raw(list(annotate(self._record, self._here, self._workspace)))


def _heartbeat(activity: Activity) -> Line:
    where = ": ".join(part for part in (activity.spec, activity.name, activity.step) if part)
    seen = f": {activity.seen}" if activity.seen else ""
    return Line(f"... still running: {where} ({activity.time}){seen}", "dim")

"""The live view: what runs now at the bottom of the terminal, what has ended in lines above it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from koalesce.durations import format_seconds
from koalesce.events import AnyEvent, ClusterReady, RunFinished
from koalesce.reporters.activity import Activity, activities
from koalesce.reporters.narration import Line, Narrator, Style
from koalesce.reporters.record import RunRecord, SpecRecord
from koalesce.reporters.text import inert, one_line

_PERIOD = 0.25  # seconds between two pictures
_ROWS = 12  # of one spec's activities
# Terminals that break lines anew when they become narrower (what xterm and Linux' console don't) are known by their variables.
_REFLOWING = (
    "TMUX", "VTE_VERSION", "KITTY_WINDOW_ID", "WEZTERM_PANE", "KONSOLE_VERSION", "ALACRITTY_WINDOW_ID", "WT_SESSION",
    "ITERM_SESSION_ID", "GHOSTTY_RESOURCES_DIR",
)  # fmt: skip
_COLORS: dict[Style, str] = {"passed": "green", "failed": "red", "error": "magenta", "skipped": "yellow", "dim": "dim"}


class LiveView:
    """Draws on a terminal, from the caller's thread: nothing moves but in `tick`, `say` and at the end.

    Tests that pass leave no line, unless `verbose` asks for it: the picture counts them.
    Lines of what has ended are collected and printed with the next picture, because each print draws the picture anew.
    """

    def __init__(
        self, stream: TextIO, *, verbose: bool = False, color: bool = True, environ: Mapping[str, str] | None = None
    ) -> None:
        self._console = Console(
            file=stream,
            force_terminal=True,
            no_color=not color,
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
        )
        self._record = RunRecord()
        self._narrator = Narrator(self._record, verbose=verbose, quiet=True)
        self._lines: list[Line] = []
        self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._drawn = -_PERIOD
        known = environ or {}
        self._reflows = any(name in known for name in _REFLOWING) and "STY" not in known  # screen, which doesn't
        self._width = 0  # of the terminal, when the picture was drawn
        self._rows: list[Text] = []  # of the picture
        self._is_closed = False

    def handle(self, event: AnyEvent) -> None:
        """Take the event in; it's seen at the next tick, the end of the run at once."""
        self._record.apply(event)
        self._lines += self._narrator.tell(event)
        if isinstance(event, RunFinished):
            self.close()

    def tick(self, elapsed: float) -> None:
        """Draw, four times a second at most."""
        if self._is_closed or elapsed - self._drawn < _PERIOD:
            return
        self._drawn = elapsed
        self._live.start()
        self._gather()
        self._print()
        self._rows, self._width = list(self._picture(elapsed)), self._console.width
        self._live.update(Group(*self._rows), refresh=True)

    def say(self, text: str) -> None:
        """Print a line of the program's own, at once."""
        self._lines.append(Line(one_line(text), "skipped"))
        self._gather()
        self._print()

    def close(self) -> None:
        """Take the picture away, leave the lines, give the cursor back."""
        if self._is_closed:
            return
        self._is_closed = True
        self._gather()
        self._live.update(Text(""))
        self._live.stop()
        self._print()

    def _gather(self) -> None:
        """Where the terminal has become narrower and has broken rows in several, go to where the picture would end if it hadn't."""
        width = self._console.width
        if not self._reflows or width >= self._width:
            return
        shown = [min(row.cell_len, self._width) for row in self._rows]
        self._width = width
        more = sum(max(1, math.ceil(length / width)) for length in shown) - len(self._rows)
        if more > 0:
            self._console.file.write(f"\x1b[{more}A\r\x1b[J")

    def _print(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            text = Text("\n").join(Text(inert(line.text), style=_COLORS.get(line.style, "")) for line in lines)
            self._console.print(text, soft_wrap=True)

    def _picture(self, elapsed: float) -> Iterator[Text]:
        """The rows that fit the terminal: a heading and the activities of each running spec, then the counts."""
        room = max(0, self._console.height - 2)
        rows = [row for spec in self._running() for row in self._spec(spec, elapsed)]
        yield from rows[:room]
        yield _row(self._counts(elapsed), "bold")

    def _running(self) -> list[SpecRecord]:
        return [spec for spec in self._record.specs.values() if spec.finished is None]

    def _spec(self, spec: SpecRecord, elapsed: float) -> Iterator[Text]:
        path = one_line(spec.started.spec)
        about = "no cluster yet"
        if spec.clusters:
            about = ", ".join(_about(cluster) for cluster in spec.clusters.values())
        yield _row(f"{path}  {about}  {_bar(spec)}", "bold")
        mine = [activity for activity in activities(self._record, elapsed) if activity.spec == path]
        for activity in islice(mine, _ROWS):
            yield _activity(activity)
        if len(mine) > _ROWS:
            yield _row(f"  … and {len(mine) - _ROWS} more", "dim")

    def _counts(self, elapsed: float) -> str:
        statuses = [end.status for spec in self._record.specs.values() for end in spec.ends]
        planned = sum(len(spec.started.tests) for spec in self._record.specs.values())
        parts = [f"{len(statuses)}/{planned} tests"]
        parts += [
            f"{statuses.count(status)} {status}"
            for status in ("passed", "failed", "error", "skipped")
            if status in statuses
        ]
        if flaky := sum(end.flaky for spec in self._record.specs.values() for end in spec.ends):
            parts.append(f"{flaky} flaky")
        return f"{' · '.join(parts)} · {format_seconds(round(elapsed))}"


def _about(cluster: ClusterReady) -> str:
    version = f"Kubernetes {cluster.kubernetes}"
    return one_line(f"{cluster.cluster} ({cluster.provider}, {version}, nodes: {len(cluster.nodes)})")


def _bar(spec: SpecRecord) -> str:
    return f"{len(spec.ends)}/{len(spec.started.tests)}"


def _activity(activity: Activity) -> Text:
    row = Text("  ", no_wrap=True, overflow="ellipsis")
    row.append(activity.name, "cyan")
    row.append(f"  {activity.time}", "dim")
    if activity.step:
        row.append(f"  {activity.step}")
    if activity.seen:
        row.append(f"  {activity.seen}", "yellow")
    return row


def _row(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")

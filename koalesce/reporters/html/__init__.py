"""The HTML report: one file with all there is to see of a run, which fetches nothing and runs no script."""

from __future__ import annotations

from pathlib import Path

from koalesce.events import AnyEvent
from koalesce.reporters.comparison import compare
from koalesce.reporters.files import write_whole
from koalesce.reporters.html.evidence import Evidence
from koalesce.reporters.html.page import render
from koalesce.reporters.record import RunRecord


class Html:
    """Collects the run and writes the report at its end, whatever that end is.

    `below`: the folders that evidence may lie in; `earlier`: a run to show it beside.
    """

    def __init__(self, path: Path, *, below: tuple[Path, ...] = (), earlier: RunRecord | None = None) -> None:
        self._path = path
        self._below = below
        self._earlier = earlier
        self._record = RunRecord()

    def handle(self, event: AnyEvent) -> None:
        """Take the event in."""
        self._record.apply(event)

    def close(self) -> None:
        """Write the file."""
        comparison = compare(self._earlier, self._record) if self._earlier else None
        write_whole(self._path, render(self._record, Evidence(self._below), comparison))

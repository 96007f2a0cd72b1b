"""The HTML report: one file with all there is to see of a run, which fetches nothing and runs no script."""

from __future__ import annotations

from pathlib import Path

from koalesce.reporters.comparison import compare
from koalesce.reporters.html.evidence import Evidence
from koalesce.reporters.html.page import render
from koalesce.reporters.record import RunRecord
from koalesce.reporters.whole_file import WholeFile


class Html(WholeFile):
    """One page.

    `below`: the folders that evidence may lie in; `earlier`: a run to show it beside.
    """

    def __init__(self, path: Path, *, below: tuple[Path, ...] = (), earlier: RunRecord | None = None) -> None:
        super().__init__(path)
        self._below = below
        self._earlier = earlier

    def content(self) -> bytes:
        """The report of what is known so far."""
        comparison = compare(self._earlier, self._record) if self._earlier else None
        return render(self._record, Evidence(self._below), comparison)

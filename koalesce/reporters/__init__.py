"""Reporters: they consume a run's events, live or from a file, and know nothing else of it.

One reporter is one module here and one line in a registry: `FILE_REPORTERS` for those that write a file, `terminal.open_view` for
those that people look at while a run lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from koalesce.events import AnyEvent
from koalesce.reporters.ctrf import Ctrf
from koalesce.reporters.html import Html
from koalesce.reporters.jsonl import JsonLines
from koalesce.reporters.junit import JUnit
from koalesce.reporters.markdown import Markdown
from koalesce.reporters.spans import to_file
from koalesce.reporters.tap import Tap


class Reporter(Protocol):
    """Anything that is told what happens in a run."""

    def handle(self, event: AnyEvent) -> None:
        """Take the next event in; OSError where it can't be written."""

    def close(self) -> None:
        """Finish, also when the run did not: what is known so far is what is reported."""


class View(Reporter, Protocol):
    """A reporter that somebody looks at while the run lasts."""

    def tick(self, elapsed: float) -> None:
        """Called a few times a second; `elapsed` is in seconds since the run began, as in events."""

    def say(self, text: str) -> None:
        """Show a line that isn't an event of the run."""


@dataclass(frozen=True, slots=True)
class FileReporter:
    """How to write one kind of report into a file; `help` is its line in the command line's help."""

    help: str
    create: Callable[[Path], Reporter]


FILE_REPORTERS: Mapping[str, FileReporter] = {
    "ctrf": FileReporter("write a CTRF report, JSON that many tools read", Ctrf),
    "events": FileReporter("write every event of the run as a line of JSON", JsonLines),
    "html": FileReporter("write an HTML report, one file that shows the run to people", Html),
    "junit": FileReporter("write a JUnit XML report, as Jenkins, GitLab, GitHub actions and CircleCI read it", JUnit),
    "markdown": FileReporter("write a summary in Markdown, for a merge request or a job's page", Markdown),
    "spans": FileReporter("write the run as OpenTelemetry spans, OTLP/JSON (extra: otel)", to_file),
    "tap": FileReporter("write a TAP report, version 14", Tap),
}

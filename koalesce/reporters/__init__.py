"""Reporters: they consume a run's events, live or from a file, and know nothing else of it.

One reporter is one module here and one line in a registry: `FILE_REPORTERS` for those that write a file, `terminal.open_view` for
those that people look at while a run lasts. A reporter is loaded when it's asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from koalesce.events import AnyEvent


class Reporter(Protocol):
    """Anything that is told what happens in a run."""

    def handle(self, event: AnyEvent) -> None:
        """Take the next event in; OSError where it can't be written."""

    def close(self) -> None:
        """Finish, also when the run did not: what is known so far is what is reported."""


@runtime_checkable
class Saving(Reporter, Protocol):
    """A reporter that can write what is known while the run lasts, so that it is there even if the run is killed."""

    def save(self) -> None:
        """Write it; OSError where that can't be done."""


class View(Reporter, Protocol):
    """A reporter that somebody looks at while the run lasts."""

    def tick(self, elapsed: float) -> None:
        """Called a few times a second; `elapsed` is in seconds since the run began, as in events."""

    def say(self, text: str) -> None:
        """Show a line that isn't an event of the run."""


@dataclass(frozen=True, slots=True)
class FileReporter:
    """How to write one kind of report into a file: what makes the reporter, in a module here. `help` is its line in the command line's help."""

    help: str
    module: str
    maker: str

    def create(self, path: Path, **more: Any) -> Reporter:
        """The reporter that writes this file, with what it takes besides."""
        made: Reporter = getattr(importlib.import_module(f"{__name__}.{self.module}"), self.maker)(path, **more)
        return made


FILE_REPORTERS: Mapping[str, FileReporter] = {
    "ctrf": FileReporter("write a CTRF report, JSON that many tools read", "ctrf", "Ctrf"),
    "events": FileReporter("write every event of the run as a line of JSON", "jsonl", "JsonLines"),
    "html": FileReporter("write an HTML report, one file that shows the run to people", "html", "Html"),
    "junit": FileReporter("write a JUnit XML report, as many CI systems read it", "junit", "JUnit"),
    "markdown": FileReporter(
        "write a summary in Markdown, for a merge request or a job's page", "markdown", "Markdown"
    ),
    "spans": FileReporter("write the run as OpenTelemetry spans, OTLP/JSON (extra: otel)", "spans", "to_file"),
    "tap": FileReporter("write a TAP report, version 14", "tap", "Tap"),
}

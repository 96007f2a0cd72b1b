"""Parts of a log that CI systems show folded: GitHub's groups and GitLab's collapsible sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from koalesce.events import AnyEvent, ClusterReady, PhaseFinished, PhaseProgress, TestFinished
from koalesce.reporters.narration import Line
from koalesce.reporters.text import inert, one_line

_BAD = ("failed", "error")


class Folds(Protocol):
    """How a CI system is told where a fold begins and ends; `at` is the time then, as in events."""

    def begin(self, title: str, at: str) -> str:
        """The line with which a fold begins."""

    def end(self, at: str) -> str:
        """The line with which it ends."""


class GitHubFolds:
    """Groups of GitHub Actions, which don't nest.

    See https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions#grouping-log-lines.
    """

    def begin(self, title: str, at: str) -> str:
        """A group with this title."""
        return f"::group::{one_line(title).replace('%', '%25')}"

    def end(self, at: str) -> str:
        """The end of the group."""
        return "::endgroup::"


class GitLabFolds:
    """Sections of GitLab's job logs, folded at first (https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections)."""

    def __init__(self) -> None:
        self._count = 0

    def begin(self, title: str, at: str) -> str:
        """A section with this title; its name is a number, as titles have signs that names may not have."""
        self._count += 1
        return (
            f"\x1b[0Ksection_start:{_unix(at)}:koalesce_{self._count}[collapsed=true]\r\x1b[0K{inert(one_line(title))}"
        )

    def end(self, at: str) -> str:
        """The end of the section."""
        return f"\x1b[0Ksection_end:{_unix(at)}:koalesce_{self._count}\r\x1b[0K"


@dataclass(frozen=True, slots=True)
class Fold:
    """A fold that lines belong to: lines with equal folds, one after the other, are in one. `is_whole`: nothing more belongs to it."""

    title: str
    is_whole: bool = False


def folded(event: AnyEvent, lines: Sequence[Line]) -> tuple[Fold, Sequence[Line]] | None:
    """The fold that an event's lines go to, and what of them is in it: what went well. What went wrong, and why a test was skipped, is never folded."""
    match event:
        case PhaseProgress() | ClusterReady():
            return Fold(f"{event.spec}: making its cluster"), lines
        case PhaseFinished() if event.status not in _BAD:
            return Fold(f"{event.spec}: making its cluster"), lines
        case TestFinished() if event.status == "passed" and not event.flaky:
            head = next(number for number, line in enumerate(lines) if line.text.startswith("--- "))
            rest = lines[head + 1 :]
            return (Fold(lines[head].text, is_whole=True), [*lines[:head], *rest]) if rest else None
        case _:
            return None


def _unix(at: str) -> int:
    """A time as GitLab wants it; 0 where it isn't known."""
    return int(datetime.fromisoformat(at).timestamp()) if at else 0

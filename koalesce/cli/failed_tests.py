"""Which tests didn't pass when they last ran here, for `run --rerun-failed`: a small file beside the folders of runs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from koalesce.errors import UsageError
from koalesce.events import AnyEvent, SpecFinished, SpecStarted, TestFinished
from koalesce.reporters.files import write_whole

FILE = Path(".koalesce") / "failed.json"
_RUN = re.compile(r" \[run=\d+\]$")  # of --count


def read_failed(file: Path = FILE) -> dict[str, frozenset[str]]:
    """The names of tests by spec, as events have them; none where nothing has run yet. UsageError for a file of another kind."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return {str(spec): frozenset(map(str, tests)) for spec, tests in data["failed"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UsageError(
            f"--rerun-failed: {file} can't be read: {error}", hint="remove it, and run all tests once"
        ) from error


class FailedTests:
    """Keeps the file up to date with a run: a test is in it from when it failed until it passes."""

    def __init__(self, known: Mapping[str, frozenset[str]], file: Path = FILE) -> None:
        self._file = file
        self._failed: dict[str, set[str]] = {spec: set(tests) for spec, tests in known.items()}
        self._written = {spec: sorted(tests) for spec, tests in known.items()}
        self._not_run: dict[str, set[str]] = {}
        self._again: dict[str, set[str]] = {}  # those that failed in this run, though a later try of `--count` may pass

    def handle(self, event: AnyEvent) -> None:
        """Take in how tests and specs end."""
        match event:
            case SpecStarted():
                self._again[event.spec] = set()
                self._not_run[event.spec] = set()
            case TestFinished():
                self._note(event, _RUN.sub("", event.test))
            case SpecFinished(status="failed" | "error"):
                self._of(event.spec).update(self._not_run.get(event.spec, ()))
            case _:
                pass

    def _note(self, end: TestFinished, name: str) -> None:
        match end.status:
            case "failed" | "error":
                self._again.setdefault(end.spec, set()).add(name)
                self._of(end.spec).add(name)
            case "skipped" if end.message.startswith("not run"):
                self._not_run.setdefault(end.spec, set()).add(name)
            case _ if name not in self._again.get(end.spec, ()):
                self._of(end.spec).discard(name)
            case _:
                pass

    def _of(self, spec: str) -> set[str]:
        return self._failed.setdefault(spec, set())

    def save(self) -> None:
        """Write it as it is so far."""
        self.close()

    def close(self) -> None:
        """Write it, if anything has changed. A folder that can't be written to keeps nobody from running tests."""
        failed = {spec: sorted(tests) for spec, tests in self._failed.items() if tests}
        if failed == self._written:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, json.dumps({"failed": failed}, ensure_ascii=False, indent=1).encode() + b"\n")
            self._written = failed

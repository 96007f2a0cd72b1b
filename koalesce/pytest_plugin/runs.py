"""Each spec is run once, for all of its items, also where these are spread over several workers of pytest-xdist."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from koalesce.errors import KoalesceError
from koalesce.events import AnyEvent, to_json
from koalesce.library.results import Problem, RunResult, TestResult, result_of
from koalesce.library.running import run_spec
from koalesce.reporters.files import write_whole
from koalesce.reporters.jsonl import read_events

_KEY: pytest.StashKey[Runs] = pytest.StashKey()
_NOT_RUN = "not run"


class NotFound(Exception):
    """The run tells nothing of a test."""


class Outcome:
    """What became of a spec's run."""

    def __init__(self, result: RunResult, *, is_teller: bool) -> None:
        self._result = result
        self._is_teller = is_teller

    def test(self, spec: str, name: str) -> TestResult:
        """A test's result; NotFound if there is none."""
        for each in self._result.tests:
            if (each.spec, each.name) == (spec, name):
                return each
        said = self._result.explanation or "the run of the spec tells nothing of it"
        raise NotFound(f"{spec}: {name}: {said}")

    def why_not_run(self, test: TestResult) -> Problem | None:
        """Why a test that was to run didn't; None for one that ran, or was skipped for a reason of its own."""
        if test.status != "skipped" or not test.message.startswith(_NOT_RUN):
            return None
        spec = self._result.spec(test.spec)
        is_bad = spec.status in ("failed", "error")
        said = [problem.explanation for problem in spec.problems] or [spec.message or test.message]
        return Problem(
            spec=test.spec,
            name=test.name,
            status="failed" if spec.status == "failed" and spec.problems else "error",
            message=test.message,
            explanation="\n".join([test.message, *said] if is_bad else [test.message]),
            line=next((problem.line for problem in spec.problems), 0),
            evidence=spec.evidence,
        )

    def problems_to_tell(self) -> tuple[Problem, ...]:
        """What went wrong outside of tests: to the first item that asks, so that it's told once."""
        if not self._is_teller:
            return ()
        self._is_teller = False
        return self._result.problems


class Runs:
    """The runs of one pytest process."""

    def __init__(self, config: pytest.Config) -> None:
        self._cluster: str | None = config.getoption("--koalesce-cluster")
        self._shared = shared_folder(config)
        self._done: dict[Path, Outcome | str] = {}

    @classmethod
    def of(cls, config: pytest.Config) -> Runs:
        """Those of this process."""
        if _KEY not in config.stash:
            config.stash[_KEY] = cls(config)
        return config.stash[_KEY]

    def outcome(self, path: Path, tests: Sequence[tuple[str, str]]) -> Outcome:
        """What became of a spec, run with these tests, (spec, name), when first asked for; KoalesceError each time where that broke."""
        if path not in self._done:
            try:
                self._done[path] = self._once(path, tests)
            except KoalesceError as error:
                self._done[path] = str(error)
        done = self._done[path]
        if isinstance(done, str):
            raise KoalesceError(done)
        return done

    def _once(self, path: Path, tests: Sequence[tuple[str, str]]) -> Outcome:
        if self._shared is None:
            return Outcome(self._run(path, tests, []), is_teller=True)
        kept = self._shared / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.jsonl"
        with locked(kept.with_suffix(".lock")):  # freed by the kernel where a worker dies: the next one runs it then
            if kept.exists():
                return Outcome(_read(kept), is_teller=False)
            events: list[AnyEvent] = []
            try:
                result = self._run(path, tests, events)
            except KoalesceError as error:
                write_whole(kept, json.dumps({"broken": str(error)}).encode())
                raise
            write_whole(kept, "".join(f"{to_json(event)}\n" for event in events).encode())
            return Outcome(result, is_teller=True)

    def _run(self, path: Path, tests: Sequence[tuple[str, str]], events: list[AnyEvent]) -> RunResult:
        only: dict[str, set[str]] = {}
        for spec, name in tests:
            only.setdefault(spec, set()).add(name)
        return run_spec(path, only=only, cluster=self._cluster, trust=True, on_event=events.append)


def _read(kept: Path) -> RunResult:
    """What another worker has kept of its run."""
    with kept.open(encoding="utf-8") as file:
        first = json.loads(file.readline())
    if "broken" in first:
        raise KoalesceError(first["broken"])
    return result_of(read_events(kept))


def shared_folder(config: pytest.Config) -> Path | None:
    """A folder that all workers of this pytest-xdist run see; None where there are none."""
    told = getattr(config, "workerinput", None)
    if told is None:
        return None
    own = config.getoption("basetemp")
    parent = Path(own).parent if own else Path(tempfile.gettempdir())
    folder = parent / f"koalesce-{told['testrunuid']}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have a file's lock, waiting for it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

"""Specs run on one cluster that is up, as users run them: `koalesce run --cluster NAME`; and what the events tell of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from koalesce.errors import UsageError
from koalesce.events import AnyEvent, SpecFinished, StepFinished, TestFinished
from koalesce.reporters.jsonl import read_events
from koalesce.spec import LoadedSpec, load_all

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 1800


@dataclass(frozen=True)
class Machine:
    """Where clusters of these tests are kept, and how Koalesce is started: in the repository, or in a copy of its specs."""

    state: Path | None
    home: Path = ROOT

    def koalesce(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Koalesce at home."""
        command = [sys.executable, "-m", "koalesce", *words]
        state = {} if self.state is None else {"KOALESCE_STATE_DIR": str(self.state)}
        found = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, **state, "PYTHONPATH": found, "NO_COLOR": "1"}
        return subprocess.run(
            command, cwd=self.home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=_PATIENCE
        )  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """A run that is over: its exit code, what it printed, its events."""

    code: int
    text: str
    events: Sequence[AnyEvent] = field(repr=False)

    def spec(self, shown: str) -> SpecFinished | None:
        """How a spec ended; None if it didn't run. Of several cells of a matrix the one that ended worst."""
        ends = [event for event in self.events if isinstance(event, SpecFinished) and _is_of(event.spec, shown)]
        return max(ends, key=lambda end: end.status != "passed", default=None)

    def tests(self, shown: str) -> list[TestFinished]:
        """How the tests of a spec ended."""
        return [event for event in self.events if isinstance(event, TestFinished) and _is_of(event.spec, shown)]

    def steps(self, shown: str, test: str | None = None) -> list[StepFinished]:
        """How the steps of a spec, or of one of its tests, ended."""
        return [
            event
            for event in self.events
            if isinstance(event, StepFinished) and _is_of(event.spec, shown) and test in (None, event.test)
        ]

    def told(self, shown: str) -> str:
        """All that went wrong in a spec; or what was printed, if it didn't run at all."""
        end = self.spec(shown)
        if end is None:
            return self.text
        bad = [each for each in self.steps(shown) if each.status in ("failed", "error")]
        tests = [f"{each.test}: {each.status}: {each.message}" for each in self.tests(shown) if each.status != "passed"]
        return "\n".join([f"{end.status}: {end.message}", *tests, *(f"{each.line}: {said(each)}" for each in bad)])


def said(step: StepFinished) -> str:
    """All that a step's end says."""
    parts = (step.message, step.expected, step.actual, step.detail)
    return "\n".join(part for part in parts if part)


def run(machine: Machine, folder: Path, specs: Sequence[Path], *flags: str) -> Ran:
    """Run specs, and read the events of the run from a file in a folder."""
    events = folder / "events.jsonl"
    done = machine.koalesce("run", *map(str, specs), "--events", str(events), *flags)
    return Ran(code=done.returncode, text=done.stdout, events=list(read_events(events)) if events.exists() else [])


def loaded(path: Path) -> list[LoadedSpec] | str:
    """A spec (its cells, if it has a matrix), or what is wrong with it."""
    try:
        return load_all([path])
    except UsageError as error:
        return str(error)


def valid(paths: Sequence[Path]) -> Iterator[Path]:
    """Those that can be run: one that isn't valid must not keep the others from running."""
    yield from (path for path in paths if not isinstance(loaded(path), str))


def below(folder: Path) -> list[Path]:
    """The specs of a folder; those that others are at (`_x.yaml`) left out."""
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("_"))


def shown(path: Path, home: Path = ROOT) -> str:
    """A spec as events name it that was run from a folder."""
    return str(path.relative_to(home))


def _is_of(spec: str, shown: str) -> bool:
    return spec == shown or spec.startswith(f"{shown} ")

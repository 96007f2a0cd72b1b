"""What is known of a run so far: its events folded into specs, phases, tests and steps. Nothing here draws or writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from koalesce.events import (
    AnyEvent,
    ClusterReady,
    PhaseFinished,
    PhaseProgress,
    PhaseStarted,
    RunFinished,
    RunStarted,
    SpecFinished,
    SpecStarted,
    StepAttempted,
    StepFinished,
    StepStarted,
    TeardownFinished,
    TeardownStarted,
    TestFinished,
    TestRerun,
    TestStarted,
)
from koalesce.reporters.text import split_cell

_MOST_SIGHTS = 40
FIRST_SIGHTS = 10


@dataclass(slots=True)
class StepRecord:
    """A step that began; `finished` once it ended, `seen` is what its last attempts saw, `history` what all of them did.

    Of many different sights, the first and the last ones are kept; `left_out` counts those in between.
    """

    section: str
    index: int
    started: StepStarted | None = None
    finished: StepFinished | None = None
    seen: str = ""
    attempt: int = 0
    history: list[StepAttempted] = field(default_factory=list)
    left_out: int = 0

    def saw(self, event: StepAttempted) -> None:
        """Take in what an attempt saw."""
        self.seen, self.attempt = event.message, event.attempt
        if len(self.history) >= _MOST_SIGHTS:
            del self.history[FIRST_SIGHTS]
            self.left_out += 1
        self.history.append(event)


@dataclass(slots=True)
class TryRecord:
    """A try of a test that failed and was followed by another: how it ended, and its steps."""

    ended: TestRerun
    steps: list[StepRecord]


@dataclass(slots=True)
class TestRecord:
    """A test that began, or steps outside of tests that were given a test's name (setup, components' readiness)."""

    __test__ = False

    spec: str
    name: str
    began: float = 0.0
    started: TestStarted | None = None
    finished: TestFinished | None = None
    steps: list[StepRecord] = field(default_factory=list)
    tries: list[TryRecord] = field(default_factory=list)

    @property
    def running(self) -> StepRecord | None:
        """The step that runs now."""
        return next((step for step in reversed(self.steps) if step.finished is None), None)

    def step(self, section: str, index: int) -> StepRecord:
        """The step of this place that runs now; made where there is none, as for each round of a `foreach`."""
        for step in reversed(self.steps):
            if (step.section, step.index) == (section, index) and step.finished is None:
                return step
        self.steps.append(StepRecord(section, index))
        return self.steps[-1]

    @property
    def is_running(self) -> bool:
        """Whether something of it has begun and not ended."""
        return self.finished is None and (self.started is not None or self.running is not None)


@dataclass(slots=True)
class PhaseRecord:
    """A phase of making the cluster ready."""

    name: str
    began: float
    progress: str = ""
    finished: PhaseFinished | None = None


@dataclass(slots=True)
class SpecRecord:
    """A spec that began."""

    started: SpecStarted
    phases: dict[str, PhaseRecord] = field(default_factory=dict)
    clusters: dict[str, ClusterReady] = field(default_factory=dict)
    tests: dict[str, TestRecord] = field(default_factory=dict)
    teardowns_started: dict[str, TeardownStarted] = field(default_factory=dict)
    teardowns: dict[str, TeardownFinished] = field(default_factory=dict)
    finished: SpecFinished | None = None

    def test(self, name: str) -> TestRecord:
        """The record of a test, made when first asked for."""
        if name not in self.tests:
            self.tests[name] = TestRecord(self.started.spec, name)
        return self.tests[name]

    @property
    def is_cached(self) -> bool:
        """Whether it wasn't run, as it has passed before and nothing has changed since."""
        return bool(self.started.cached)

    @property
    def cluster(self) -> ClusterReady | None:
        """Its cluster, the first one that was up of several."""
        return next(iter(self.clusters.values()), None)

    @property
    def ends(self) -> list[TestFinished]:
        """How its tests ended, as far as they did; the spec's set-up, told as if it were a test, is not among them."""
        ends = (self.tests[name].finished for name in dict.fromkeys(self.started.tests) if name in self.tests)
        return [end for end in ends if end is not None]


class RunRecord:
    """A run as far as its events tell."""

    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.specs: dict[str, SpecRecord] = {}
        self.finished: RunFinished | None = None
        self.elapsed = 0.0

    @property
    def names(self) -> list[str]:
        """What its specs are called: cells of one file once; the paths of files that have a name together."""
        files: dict[str, dict[str, None]] = {}
        for path, spec in self.specs.items():
            files.setdefault(spec.started.name, {})[split_cell(path)[0]] = None
        return [shown for name, paths in files.items() for shown in ([name] if len(paths) == 1 else paths)]

    def spec(self, path: str) -> SpecRecord:
        """The record of a spec; one without its own start (a cut event file) starts when first heard of."""
        if path not in self.specs:
            self.specs[path] = SpecRecord(SpecStarted(spec=path, name=path, tests=()))
        return self.specs[path]

    def apply(self, event: AnyEvent) -> None:
        """Take an event in."""
        self.elapsed = max(self.elapsed, event.elapsed)
        match event:
            case RunStarted():
                self.started = event
            case RunFinished():
                self.finished = event
            case SpecStarted():
                self.spec(event.spec).started = event  # its cluster may have been made ahead
            case TestStarted() | StepStarted() | StepAttempted() | StepFinished() | TestRerun() | TestFinished():
                _apply_to_test(self.spec(event.spec).test(event.test), event)
            case _:
                _apply_to_spec(self.spec(event.spec), event)


_TestEvent = TestStarted | StepStarted | StepAttempted | StepFinished | TestRerun | TestFinished
_SpecEvent = (
    PhaseStarted | PhaseProgress | PhaseFinished | ClusterReady | TeardownStarted | TeardownFinished | SpecFinished
)


def _apply_to_spec(spec: SpecRecord, event: _SpecEvent) -> None:
    match event:
        case PhaseStarted():
            spec.phases[event.phase] = PhaseRecord(event.phase, event.elapsed)
        case PhaseProgress():
            _phase(spec, event).progress = event.message
        case PhaseFinished():
            _phase(spec, event).finished = event
        case ClusterReady():
            spec.clusters[event.cluster] = event
        case TeardownStarted():
            spec.teardowns_started[event.cluster] = event
        case TeardownFinished():
            spec.teardowns[event.cluster] = event
        case SpecFinished():
            spec.finished = event
        case _:
            assert_never(event)


def _phase(spec: SpecRecord, event: PhaseProgress | PhaseFinished) -> PhaseRecord:
    return spec.phases.setdefault(event.phase, PhaseRecord(event.phase, event.elapsed))


def _apply_to_test(test: TestRecord, event: _TestEvent) -> None:
    match event:
        case TestStarted():
            test.began = test.began if event.rerun else event.elapsed
            test.started = event
        case StepStarted():
            test.step(event.section, event.index).started = event
        case StepAttempted():
            test.step(event.section, event.index).saw(event)
        case StepFinished():
            test.step(event.section, event.index).finished = event
        case TestRerun():
            test.tries.append(TryRecord(event, test.steps))
            test.steps = []
        case TestFinished():
            test.finished = event
        case _:
            assert_never(event)

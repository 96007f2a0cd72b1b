"""What became of a run, as frozen data: specs, their tests, and the steps of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from koalesce.events import AnyEvent, ClusterReady, Status
from koalesce.reporters.cases import Case, cases_of
from koalesce.reporters.record import RunRecord, SpecRecord, StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step of a test's. `index` counts from 0 in its `section`: steps, cleanup, onFailure.

    `settled` is the time in seconds from the step's start until what it asserts first held; None if it never did, or can't. `expected`,
    `actual` and `detail` explain what went wrong. A step that hadn't ended when the run did is an error.
    """

    section: str
    index: int
    type: str
    title: str
    status: Status
    message: str
    line: int
    attempts: int
    seconds: float
    settled: float | None = None
    expected: str | None = None
    actual: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestTry:
    """A try of a test that failed, and was followed by another."""

    __test__: ClassVar[bool] = False

    message: str
    explanation: str
    seconds: float
    steps: tuple[StepResult, ...]
    evidence: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """A test of a spec's. `message` is one sentence, `explanation` all there is to say of a failure or an error, `output` a line for each step.

    `line` is that of the step that failed, otherwise that of the test, in the spec's file. `steps` are those of its last try; `tries` the
    others, all of which failed. `evidence` is the folder with what was collected. One that never began is skipped, with the reason.
    """

    __test__: ClassVar[bool] = False

    spec: str
    name: str
    status: Status
    message: str
    explanation: str
    line: int
    seconds: float
    steps: tuple[StepResult, ...] = ()
    tries: tuple[TestTry, ...] = ()
    output: tuple[str, ...] = ()
    evidence: Path | None = None

    @property
    def is_flaky(self) -> bool:
        """Whether it passed only when it was run again."""
        return self.status == "passed" and bool(self.tries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong outside of tests: making the cluster, a component, the spec's setup or cleanup, removing the cluster."""

    spec: str
    name: str
    status: Status
    message: str
    explanation: str
    line: int
    evidence: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterResult:
    """A cluster that a spec had. `is_shared`: it was up before the run, and stays; `is_reused`: an earlier spec had it made."""

    name: str
    provider: str
    kubernetes: str
    nodes: tuple[str, ...]
    seconds: float
    is_shared: bool = False
    is_reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecResult:
    """A spec, or a cell of its matrix. `spec` is its path as messages have it, with the cell behind it."""

    spec: str
    name: str
    status: Status
    message: str
    seconds: float
    tests: tuple[TestResult, ...]
    problems: tuple[Problem, ...] = ()
    clusters: tuple[ClusterResult, ...] = ()
    evidence: Path | None = None

    def test(self, name: str) -> TestResult:
        """The test of this name; KeyError if there is none."""
        for test in self.tests:
            if test.name == name:
                return test
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run. `status` is the worst of its specs; `left` are commands that remove what could not be removed.

    `folder` holds what the run left to look at, where it left anything.
    """

    run_id: str
    status: Status
    seconds: float
    folder: Path
    specs: tuple[SpecResult, ...]
    interrupted: bool = False
    teardown_failed: bool = False
    left: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all is well, as the exit code 0 says it: a test passed, none failed, nothing is in doubt or left over."""
        bad = self.status in ("failed", "error") or any(test.status in ("failed", "error") for test in self.tests)
        is_run = any(test.status == "passed" for test in self.tests)
        return is_run and not (bad or self.interrupted or self.teardown_failed)

    @property
    def tests(self) -> tuple[TestResult, ...]:
        """The tests of all specs."""
        return tuple(test for spec in self.specs for test in spec.tests)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What went wrong outside of tests, in all specs."""
        return tuple(problem for spec in self.specs for problem in spec.problems)

    def spec(self, path: str) -> SpecResult:
        """The spec of this path, as messages have it; KeyError if there is none."""
        for spec in self.specs:
            if spec.spec == path:
                return spec
        raise KeyError(path)

    @property
    def explanation(self) -> str:
        """All that isn't well, as text for people."""
        return "\n\n".join(self._explained())

    def _explained(self) -> Iterator[str]:
        cases: tuple[Problem | TestResult, ...] = (*self.problems, *self.tests)
        for each in cases:
            if each.status in ("failed", "error"):
                yield f"{each.status}: {each.spec}:{each.line}: {each.name}\n{each.explanation}"
        if self.interrupted:
            yield "the run was interrupted"
        if self.left:
            yield "\n".join(["something is left over; remove it with:", *(f"  {command}" for command in self.left)])
        if not any(test.status != "skipped" for test in self.tests):
            yield "\n".join(["no test ran", *(f"  {test.name}: {test.message}" for test in self.tests)])


def result_of(events: Iterable[AnyEvent]) -> RunResult:
    """The result of a run whose events these are; of one that didn't come to its end, as far as they go."""
    record = RunRecord()
    for event in events:
        record.apply(event)
    return folded(record)


def folded(record: RunRecord) -> RunResult:
    """The result of what is known of a run."""
    end = record.finished
    teardowns = [teardown for spec in record.specs.values() for teardown in spec.teardowns.values()]
    return RunResult(
        run_id=record.started.run_id if record.started else "",
        status=end.status if end else "error",
        seconds=end.seconds if end else record.elapsed,
        folder=Path(record.started.folder if record.started else "").absolute(),
        specs=tuple(_spec(record, spec) for spec in record.specs.values()),
        interrupted=end.interrupted if end else True,
        teardown_failed=end.teardown_failed if end else False,
        left=tuple(each.command for each in teardowns if each.message and each.command),
    )


def _spec(record: RunRecord, spec: SpecRecord) -> SpecResult:
    key, end = spec.started.spec, spec.finished
    cases = list(cases_of(record, spec))
    return SpecResult(
        spec=key,
        name=spec.started.name,
        status=end.status if end else "error",
        message=end.message if end else "the run ended before the spec did",
        seconds=end.seconds if end else 0.0,
        tests=tuple(_test(key, case) for case in cases if case.is_test),
        problems=tuple(
            _problem(key, case) for case in cases if not case.is_test and case.status in ("failed", "error")
        ),
        clusters=tuple(_cluster(ready) for ready in spec.clusters.values()),
        evidence=_folder(end.evidence) if end else None,
    )


def _test(spec: str, case: Case) -> TestResult:
    return TestResult(
        spec=spec,
        name=case.name,
        status=case.status,
        message=case.message,
        explanation=case.text or case.message,
        line=case.line,
        seconds=case.seconds,
        steps=_steps(case.steps),
        tries=tuple(_try(each) for each in case.tries),
        output=tuple(case.output),
        evidence=_folder(case.evidence),
    )


def _try(case: Case) -> TestTry:
    return TestTry(
        message=case.message, explanation=case.text or case.message, seconds=case.seconds, steps=_steps(case.steps),
        evidence=_folder(case.evidence),
    )  # fmt: skip


def _problem(spec: str, case: Case) -> Problem:
    return Problem(
        spec=spec, name=case.name, status=case.status, message=case.message, explanation=case.text or case.message,
        line=case.line, evidence=_folder(case.evidence),
    )  # fmt: skip


def _cluster(ready: ClusterReady) -> ClusterResult:
    return ClusterResult(
        name=ready.cluster, provider=ready.provider, kubernetes=ready.kubernetes,
        nodes=tuple(str(node["name"]) for node in ready.nodes),
        seconds=ready.seconds, is_shared=ready.shared, is_reused=ready.reused,
    )  # fmt: skip


def _steps(records: Sequence[StepRecord]) -> tuple[StepResult, ...]:
    return tuple(step for record in records if (step := _step(record)) is not None)


def _step(record: StepRecord) -> StepResult | None:
    begun, end = record.started, record.finished
    if end is not None:
        return StepResult(
            section=end.section, index=end.index, type=end.type, title=end.title, status=end.status, message=end.message,
            line=end.line, attempts=end.attempts, seconds=end.seconds, settled=end.settled, expected=end.expected,
            actual=end.actual, detail=end.detail,
        )  # fmt: skip
    if begun is None:
        return None
    return StepResult(
        section=begun.section, index=begun.index, type=begun.type, title=begun.title, status="error",
        message=record.seen or "the run ended before the step did", line=begun.line, attempts=record.attempt, seconds=0.0,
    )  # fmt: skip


def _folder(evidence: str) -> Path | None:
    return Path(evidence).absolute() if evidence else None

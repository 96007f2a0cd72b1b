"""What a report has a case for: each test of a spec, and whatever went wrong outside of tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from koalesce.events import Status, StepFinished, TestFinished, TestRerun
from koalesce.reporters.narration import explanation, step_title
from koalesce.reporters.record import RunRecord, SpecRecord, StepRecord, TestRecord

BAD = ("failed", "error")


@dataclass(slots=True, kw_only=True)
class Case:
    """A test, or something else that went wrong. `type` is that of the step that tells most, `text` all there is to say.

    `steps` are those of its last try, `tries` what it was before: other tries, all of which failed. `is_test`: a test of the spec's.
    """

    name: str
    status: Status
    seconds: float = 0.0
    line: int = 0
    type: str = ""
    message: str = ""
    text: str = ""
    output: list[str] = field(default_factory=list)
    evidence: str = ""
    tries: list[Case] = field(default_factory=list)
    steps: Sequence[StepRecord] = ()
    is_test: bool = True

    @property
    def is_flaky(self) -> bool:
        """Whether it passed only when it was run again."""
        return self.status == "passed" and bool(self.tries)


def cases_of(record: RunRecord, spec: SpecRecord) -> Iterator[Case]:
    """The cases of a spec, what went wrong outside of its tests first. Tests that were running are errors, those not yet begun are skipped."""
    bad = [case for case in (*_phases(spec), *_outside(spec), *_teardown(spec)) if case.status in BAD]
    tests = [case_of(record, spec, name) for name in dict.fromkeys(spec.started.tests)]
    end = spec.finished
    known = [*bad, *(case for case in tests if case.status != "passed")]
    yield from bad
    yield from tests
    if end is None and not tests:
        yield Case(
            name=spec.started.name, status="error", type="interrupted", message="the run ended before the spec did",
            is_test=False,
        )  # fmt: skip
    elif (
        end is not None
        and not any(case.status == end.status for case in known)
        and (end.status != "passed" or not tests)
    ):
        yield Case(
            name=spec.started.name,
            status=end.status,
            seconds=end.seconds,
            type="spec",
            message=end.message,
            evidence=end.evidence,
            is_test=False,
        )


def case_of(record: RunRecord, spec: SpecRecord, name: str) -> Case:
    """The case of a spec's test."""
    test = spec.tests.get(name)
    if test is None or not _is_test(test):
        reason = spec.finished.message if spec.finished else "the run ended before it"
        return Case(name=name, status="skipped", message=f"not run: {reason}" if reason else "not run")
    return _unfinished(record, test) if test.finished is None else _ended(name, test, test.finished)


def _is_test(test: TestRecord) -> bool:
    return test.started is not None or test.finished is not None


def _phases(spec: SpecRecord) -> Iterator[Case]:
    for phase in spec.phases.values():
        steps = spec.tests[phase.name].steps if phase.name in spec.tests else ()
        if phase.finished is None or any(step.finished and step.finished.status in BAD for step in steps):
            continue  # a component's steps tell more than that it isn't ready
        end, evidence = phase.finished, spec.finished.evidence if spec.finished else ""
        yield Case(
            name=phase.name,
            status=end.status,
            seconds=end.seconds,
            type="phase",
            message=end.message,
            evidence=evidence,
            is_test=False,
        )


def _outside(spec: SpecRecord) -> Iterator[Case]:
    """Set-up, and steps of no test: those of components' readiness and of the spec's clean-up."""
    planned = set(spec.started.tests)
    for name, test in spec.tests.items():
        if name in planned:
            continue
        if test.finished is not None:
            yield replace(_ended(name, test, test.finished), is_test=False)
            continue
        for step, end in ((step, step.finished) for step in test.steps if step.finished):
            text = "\n".join(explanation(end))
            title = step_title(end) if name in ("", end.section) else f"{name}: {step_title(end)}"
            yield Case(
                name=title,
                status=end.status,
                seconds=end.seconds,
                line=end.line,
                type=end.type,
                message=end.message,
                text=text,
                steps=(step,),
                is_test=False,
            )


def _teardown(spec: SpecRecord) -> Iterator[Case]:
    for cluster, end in spec.teardowns.items():
        if end.message:
            name = "teardown" if len(spec.teardowns) == 1 else f"teardown of {cluster}"
            text = f"{end.message}\nremove it with: {end.command}"
            yield Case(
                name=name, status="error", seconds=end.seconds, type="teardown", message=end.message, text=text,
                is_test=False,
            )  # fmt: skip


def _unfinished(record: RunRecord, test: TestRecord) -> Case:
    running = test.running.started if test.running else None
    return Case(
        name=test.name,
        status="error",
        seconds=max(0.0, record.elapsed - test.began),
        line=test.started.line if test.started else 0,
        type="interrupted",
        message=f"the run ended in {running.title}" if running else "the run ended before the test did",
        output=_output(test),
        steps=test.steps,
    )


def _ended(name: str, test: TestRecord, end: TestFinished) -> Case:
    case = _tried(name, test.steps, end, end.status)
    case.tries = [_tried(name, each.steps, each.ended, "failed") for each in test.tries]
    case.output = _output(test)
    return case


def _tried(name: str, records: Sequence[StepRecord], end: TestFinished | TestRerun, status: Status) -> Case:
    """One try of a test; all of its steps that failed are told of."""
    bad = [step.finished for step in records if step.finished and step.finished.status in BAD and status in BAD]
    first = next((step for step in bad if step.status == status), None)
    return Case(
        name=name,
        status=status,
        seconds=end.seconds,
        line=first.line if first else end.line,
        type=first.type if first else "test",
        message=end.message,
        text="\n".join([end.message, *(line for step in bad for line in explanation(step))]) if bad else "",
        evidence=end.evidence,
        steps=records,
    )


def _output(test: TestRecord) -> list[str]:
    lines: list[str] = []
    for number, each in enumerate(test.tries):
        lines += [f"try {number + 1}:", *_step_lines(each.steps)]
    return [*lines, *([f"try {len(test.tries) + 1}:"] if test.tries else []), *_step_lines(test.steps)]


def _step_lines(records: Sequence[StepRecord]) -> list[str]:
    return [_step_line(step.finished) for step in records if step.finished]


def _step_line(end: StepFinished) -> str:
    return f"{end.status}: {step_title(end)} ({end.seconds:.2f}s, attempts: {end.attempts}) {end.message}".rstrip()

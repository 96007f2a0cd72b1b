"""When what happened in a run: rows of spans on one axis of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from koalesce.reporters.cases import BAD
from koalesce.reporters.record import RunRecord, SpecRecord, StepRecord, TestRecord

Kind = Literal["spec", "cluster", "test", "fault", "probe"]
_MOST_TESTS = 250  # rows of tests that are drawn of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that lasted from `begin` to `end`, in seconds since the run began. `look` is a status, or what else it looks like."""

    title: str
    begin: float
    end: float
    look: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Spans of one thing. `name` is that of the test which it is about."""

    kind: Kind
    label: str
    spans: Sequence[Span]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The rows of a spec; `left_out` counts the tests that are not among them."""

    spec: str
    rows: Sequence[Row]
    left_out: int


def lanes(record: RunRecord) -> list[Lane]:
    """A lane for each spec, in the order in which they began."""
    chosen = _chosen(record)
    return [_lane(record, spec, chosen) for _, spec in timed(record)]


def overall(record: RunRecord) -> Lane:
    """A row for each spec: its cluster, and its tests."""
    rows = []
    names = [spec.started.name for spec in record.specs.values()]
    for path, spec in timed(record):
        parts = [
            replace(span, title=f"{path}: {span.title}") for row in _of_cluster(record, spec) for span in row.spans
        ]
        ran = [test for test in spec.tests.values() if test.started is not None]
        if ran:
            end = max(test.finished.elapsed if test.finished else record.elapsed for test in ran)
            statuses = {test.finished.status if test.finished else "running" for test in ran}
            look = next((each for each in ("failed", "error", "running", "passed") if each in statuses), "skipped")
            parts.append(Span(title=f"{path}: tests", begin=min(test.began for test in ran), end=end, look=look))
        if parts:
            rows.append(
                Row(kind="spec", label=path if names.count(spec.started.name) > 1 else spec.started.name, spans=parts)
            )
    return Lane(spec="the whole run", rows=rows, left_out=0)


def timed(record: RunRecord) -> Iterator[tuple[str, SpecRecord]]:
    """The specs of which something happened in this run, rather than in an earlier one."""
    yield from ((path, spec) for path, spec in record.specs.items() if not spec.is_cached)


def _lane(record: RunRecord, spec: SpecRecord, chosen: set[tuple[str, str]]) -> Lane:
    path = spec.started.spec
    tests = [test for test in spec.tests.values() if (path, test.name) in chosen]
    rows = [row for test in sorted(tests, key=_began) for row in _of_test(record, spec, test)]
    return Lane(spec=path, rows=[*_of_cluster(record, spec), *rows], left_out=len(spec.tests) - len(tests))


def _chosen(record: RunRecord) -> set[tuple[str, str]]:
    """The tests that are drawn: of too many, those that went wrong and those that took longest."""
    every = [test for _, spec in timed(record) for test in spec.tests.values()]
    every.sort(key=lambda test: (test.finished is not None and test.finished.status not in BAD, -_length(record, test)))
    return {(test.spec, test.name) for test in every[:_MOST_TESTS]}


def _began(test: TestRecord) -> float:
    starts = [step.started.elapsed for step in test.steps[:1] if step.started]
    return test.began if test.started else min(starts, default=0.0)


def _length(record: RunRecord, test: TestRecord) -> float:
    return (test.finished.elapsed if test.finished else record.elapsed) - _began(test)


def _of_cluster(record: RunRecord, spec: SpecRecord) -> Iterator[Row]:
    spans = [
        Span(
            title=phase.name,
            begin=phase.began,
            end=phase.finished.elapsed if phase.finished else record.elapsed,
            look="phase" if phase.finished and phase.finished.status not in BAD else "error",
        )
        for phase in spec.phases.values()
    ]
    for name, start in spec.teardowns_started.items():
        end = spec.teardowns.get(name)
        look = "teardown" if end and not end.message else "error"
        end_time = end.elapsed if end else record.elapsed
        spans.append(Span(title=f"teardown of {name}", begin=start.elapsed, end=end_time, look=look))
    if spans:
        yield Row(kind="cluster", label="cluster", spans=spans)


def _of_test(record: RunRecord, spec: SpecRecord, test: TestRecord) -> Iterator[Row]:
    steps = [*(step for each in test.tries for step in each.steps), *test.steps]
    spans = [span for span in (_of_step(record, step) for step in steps) if span]
    if not spans and test.started is None:
        return
    end = test.finished.elapsed if test.finished else record.elapsed
    if test.started is not None:
        status = "running" if test.finished is None else "flaky" if test.finished.flaky else test.finished.status
        spans.insert(0, Span(title=test.name, begin=test.began, end=end, look=f"whole {status}"))
    label = test.name or "setup"
    yield Row(kind="test", label=label, spans=spans, name=test.name)
    is_of_spec = test.name not in spec.started.tests
    last = spec.finished.elapsed if is_of_spec and spec.finished else end
    yield from _ongoing(steps, last)


def faults(record: RunRecord, spec: SpecRecord) -> list[Span]:
    """All faults of a spec, those that end with their step and those that go on after it."""
    found = [span for test in spec.tests.values() for row in _of_test(record, spec, test) for span in row.spans]
    return [span for span in found if "fault" in span.look.split()]


def _of_step(record: RunRecord, step: StepRecord) -> Span | None:
    if step.started is None:
        return None
    status = step.finished.status if step.finished else "running"
    look = "fault" if step.started.type == "chaos" and status == "passed" else status
    end = step.finished.elapsed if step.finished else record.elapsed
    return Span(title=step.started.title, begin=step.started.elapsed, end=end, look=look)


def _ongoing(steps: Sequence[StepRecord], last: float) -> Iterator[Row]:
    """Faults and probes: from their step until a `stop` of the same name, or the end."""
    for number, step in enumerate(steps):
        begin = step.started
        if begin is None or not begin.ongoing or begin.type == "stop":
            continue
        if step.finished is None or step.finished.status != "passed":
            continue
        stop = next((each for each in steps[number + 1 :] if _stops(each, begin.ongoing)), None)
        end = stop.finished if stop else None
        kind: Kind = "fault" if begin.type == "chaos" else "probe"
        look = f"{kind} bad" if end and end.status in BAD else kind
        title = begin.title if kind == "fault" else begin.ongoing
        span = Span(title=title, begin=begin.elapsed, end=end.elapsed if end else max(last, begin.elapsed), look=look)
        yield Row(kind=kind, label=title, spans=[span])


def _stops(step: StepRecord, name: str) -> bool:
    return step.started is not None and step.started.type == "stop" and step.started.ongoing == name


Anchors = Mapping[tuple[str, str], str]

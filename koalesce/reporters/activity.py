"""What is going on at a moment of a run: the rows of the live view, and of the heartbeat where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from koalesce.durations import format_seconds
from koalesce.reporters.record import RunRecord, SpecRecord, TestRecord
from koalesce.reporters.text import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One thing that lasts: a phase, a test with its running step, or the teardown. Times in seconds, `timeout` 0: none."""

    spec: str
    name: str
    step: str = ""
    seen: str = ""
    seconds: float
    timeout: float = 0.0

    @property
    def time(self) -> str:
        """How long it has lasted, and how long it may."""
        spent = format_seconds(max(0.0, round(self.seconds)))
        return f"{spent} of {format_seconds(self.timeout)}" if self.timeout else spent


def activities(record: RunRecord, elapsed: float) -> Iterator[Activity]:
    """Everything that lasts at this time of the run, in the order of the specs and of what began first."""
    for spec in record.specs.values():
        if spec.finished is None:
            yield from _of_spec(spec, elapsed)


def _of_spec(spec: SpecRecord, elapsed: float) -> Iterator[Activity]:
    path = one_line(spec.started.spec)
    for phase in spec.phases.values():
        if phase.finished is None:
            name, seen = one_line(phase.name), one_line(phase.progress)
            yield Activity(spec=path, name=name, seen=seen, seconds=elapsed - phase.began)
    for test in spec.tests.values():
        if test.is_running:
            yield _of_test(path, test, elapsed)
    for cluster, started in spec.teardowns_started.items():
        if cluster not in spec.teardowns:
            name = "teardown" if len(spec.clusters) < 2 else f"teardown of {one_line(cluster)}"
            yield Activity(spec=path, name=name, seconds=elapsed - started.elapsed)


def _of_test(path: str, test: TestRecord, elapsed: float) -> Activity:
    name, step = one_line(test.name), test.running
    if step is None or step.started is None:
        return Activity(spec=path, name=name, seconds=elapsed - test.began)
    return Activity(
        spec=path,
        name=name,
        step=one_line(step.started.title),
        seen=one_line(step.seen),
        seconds=elapsed - step.started.elapsed,
        timeout=step.started.timeout,
    )

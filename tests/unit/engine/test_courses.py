"""Courses: each change has its time for itself, is measured, and its end decides what comes next."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from koalesce.durations import Duration
from koalesce.engine.attempts import Looked, RetryPolicy
from koalesce.engine.courses import Walk
from koalesce.engine.scopes import TestScope
from koalesce.errors import Interrupted, UsageError
from koalesce.spec.fields import StepFields
from koalesce.steps.base import Ended, Errored, Failed, Outcome, Passed, Stage, StepContext
from tests.fakes import FakeCluster, context
from tests.unit.engine.test_attempts import FakeClock, JumpingSleeper

Course = Generator[Stage, Ended, Outcome]


@dataclass
class Change(Stage):
    """Takes effect so many seconds after it was made; for `breaks` seconds from then on it's as if it were undone."""

    clock: FakeClock
    after: float
    title: str = "a change"
    is_measured: bool = True
    gaps: tuple[tuple[float, float], ...] = ()
    acting: Outcome = field(default_factory=lambda: Passed("made"))
    seen: list[StepContext] = field(default_factory=list)
    _made: float = 0.0

    @property
    def measured(self) -> bool:  # type: ignore[override]  # chosen by the test
        return self.is_measured

    def act(self, context: StepContext) -> Outcome:
        self._made = self.clock.time
        self.seen.append(context)
        return self.acting

    def look(self, context: StepContext) -> Outcome:
        age = self.clock.time - self._made
        is_open = any(begin <= age < end for begin, end in self.gaps)
        return Passed("in effect") if age >= self.after and not is_open else Failed("not yet", "in effect", "not yet")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def walk(
    clock: FakeClock,
    stages: Course,
    *,
    timeout: float = 10.0,
    end: float | None = None,
    told: list[str] | None = None,
    **fields: Any,
) -> Looked:
    return Walk(
        context=context(FakeCluster()), scope=TestScope(cancel=threading.Event()), fields=StepFields.model_validate(fields),
        policy=RetryPolicy(every=1, backoff=1, longest=1), timeout=timeout, end=end, clock=clock, sleeper=JumpingSleeper(clock),
        seen=lambda number, outcome: (told if told is not None else []).append(f"{number} {getattr(outcome, 'message', '')}"),
    ).run(stages)  # fmt: skip


def course(*changes: Change, ends: list[Ended] | None = None) -> Course:
    for change in changes:
        ended = yield change
        if ends is not None:
            ends.append(ended)
        if not isinstance(ended.outcome, Passed):
            return ended.outcome
    return Passed("all of them")


def test_each_change_is_awaited_and_measured_and_the_slowest_is_told(clock: FakeClock) -> None:
    ends: list[Ended] = []

    looked = walk(clock, course(Change(clock, 0), Change(clock, 3), Change(clock, 1), ends=ends))

    assert [ended.seconds for ended in ends] == [0.0, 3.0, 1.0]
    assert (looked.outcome, looked.settled, looked.seconds, looked.attempts) == (Passed("all of them"), 3.0, 4.0, 7)


def test_what_is_not_measured_does_not_count(clock: FakeClock) -> None:
    looked = walk(clock, course(Change(clock, 5, is_measured=False), Change(clock, 1)), within="2s")

    assert (looked.outcome, looked.settled) == (Passed("all of them"), 1.0)


def test_the_timeout_is_each_changes_own(clock: FakeClock) -> None:
    assert isinstance(walk(clock, course(*(Change(clock, 8) for _ in range(5)))).outcome, Passed)

    late = walk(clock, course(Change(clock, 8), Change(clock, 11)))

    assert late.outcome == Failed("not yet", "in effect", "not yet")


def test_a_change_may_have_another_time(clock: FakeClock) -> None:
    slow = Change(clock, 30)
    slow.timeout = Duration(40)

    assert isinstance(walk(clock, course(slow, Change(clock, 8))).outcome, Passed)


def test_no_change_lasts_beyond_the_tests_end(clock: FakeClock) -> None:
    looked = walk(clock, course(Change(clock, 3), Change(clock, 3)), end=5)

    assert isinstance(looked.outcome, Failed)
    assert clock.time == 5


def test_a_change_that_takes_effect_too_late_has_failed(clock: FakeClock) -> None:
    looked = walk(clock, course(Change(clock, 1), Change(clock, 3)), within="2s")

    assert looked.outcome == Failed("held only after 3s: in effect", "within 2s", "3s")


def test_each_change_has_to_last(clock: FakeClock) -> None:
    ends: list[Ended] = []
    flapping = Change(clock, 1, gaps=((2, 3),))

    looked = walk(clock, course(flapping, ends=ends), stableFor="3s")

    assert ends[0].seconds == 3.0
    assert looked.outcome == Passed("all of them")
    assert clock.time == 6.0


def test_what_could_not_be_made_is_not_looked_at(clock: FakeClock) -> None:
    refused = Change(clock, 0, acting=Errored("the file is gone", final=True))

    looked = walk(clock, course(refused, Change(clock, 0)))

    assert (looked.outcome, looked.attempts) == (Errored("the file is gone", final=True), 0)


def test_looks_are_told_with_the_change_that_they_are_about(clock: FakeClock) -> None:
    told: list[str] = []

    walk(clock, course(Change(clock, 1, "first"), Change(clock, 1, "second")), told=told)

    assert told == ["1 first: not yet", "3 second: not yet"]


def test_each_change_has_a_memory_and_a_deadline_of_its_own(clock: FakeClock) -> None:
    one, two = Change(clock, 4), Change(clock, 0)

    walk(clock, course(one, two))

    assert one.seen[0].memory is not two.seen[0].memory
    assert (one.seen[0].scope.remaining(), two.seen[0].scope.remaining()) == (6.0, 10.0)


def test_a_mishap_between_two_changes_is_an_error(clock: FakeClock) -> None:
    def stages() -> Course:
        yield Change(clock, 0)
        raise UsageError("web.yaml: can't be read")

    assert walk(clock, stages()).outcome == Errored("web.yaml: can't be read")


def test_an_interrupt_ends_the_course(clock: FakeClock) -> None:
    closed: list[bool] = []

    def stages() -> Course:
        try:
            yield Interrupting(clock, 0)
        finally:
            closed.append(True)
        raise AssertionError("goes on")

    with pytest.raises(Interrupted):
        walk(clock, stages())
    assert closed == [True]


class Interrupting(Change):
    """The run ends while it's looked at."""

    def look(self, context: StepContext) -> Outcome:
        raise Interrupted

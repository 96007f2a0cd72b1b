"""Looking again: when, how often, and what ends it. Time is the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from koalesce.engine.attempts import COALESCE, Interrupt, Looker, RetryPolicy, Sleeper, act_until_ready
from koalesce.engine.verdicts import Eventually, StableFor
from koalesce.errors import ClusterError, Interrupted, KoalesceError
from koalesce.kube import ApiError, ExecTimeout
from koalesce.process import CommandTimeout
from koalesce.steps.base import Errored, Failed, Outcome, Passed


class FakeClock:
    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)


class JumpingSleeper(Sleeper):
    """Time passes at once; `changes` are the times at which something watched changes."""

    def __init__(self, clock: FakeClock, changes: tuple[float, ...] = ()) -> None:
        super().__init__(clock, Interrupt(threading.Event()))
        self.clock = clock
        self.changes = sorted(changes)

    def sleep(self, seconds: float) -> None:
        end = self.clock.time + seconds
        due = [change for change in self.changes if self.clock.time <= change < end] if self.watching else []
        if due:
            end = due[0]
            self.changes = [change for change in self.changes if change > end]
        self.clock.time = end


def looker(
    clock: FakeClock,
    look: Callable[[], Outcome],
    *,
    deadline: float = 10.0,
    watched: bool = False,
    changes: tuple[float, ...] = (),
    policy: RetryPolicy | None = None,
) -> Looker:
    return Looker(
        rule=Eventually(deadline=deadline), policy=policy or RetryPolicy(every=1, backoff=1, longest=1), clock=clock,
        sleeper=JumpingSleeper(clock, changes), look=look, is_watched=lambda: watched,
    )  # fmt: skip


def recorded(clock: FakeClock, times: list[float], holds_from: float = 1e9) -> Callable[[], Outcome]:
    def look() -> Outcome:
        times.append(clock.time)
        return Passed("held") if clock.time >= holds_from else Failed("not yet")

    return look


def test_looks_immediately() -> None:
    clock, times = FakeClock(), []

    looked = looker(clock, recorded(clock, times, holds_from=0)).run()

    assert (looked.outcome, looked.attempts, times) == (Passed("held"), 1, [0.0])


def test_the_last_look_is_exactly_on_the_deadline() -> None:
    clock, times = FakeClock(), []

    looked = looker(
        clock, recorded(clock, times), deadline=2.5, policy=RetryPolicy(every=1, backoff=1, longest=1)
    ).run()

    assert times == [0.0, 1.0, 2.0, 2.5]
    assert looked.outcome == Failed("not yet")


def test_looks_are_spread_by_the_back_off() -> None:
    clock, times = FakeClock(), []

    looker(clock, recorded(clock, times), deadline=20, policy=RetryPolicy(every=1, backoff=2, longest=5)).run()

    assert times == [0.0, 1.0, 3.0, 7.0, 12.0, 17.0, 20.0]


def test_who_can_not_answer_is_asked_half_as_often_after_a_while() -> None:
    clock, times = FakeClock(), []

    def look() -> Outcome:
        times.append(clock.time)
        return Errored("no answer")

    looker(clock, look, deadline=20, policy=RetryPolicy(every=0.5, backoff=2, longest=2)).run()

    assert times == [0.0, 0.5, 2.5, 6.5, 10.5, 14.5, 18.5, 20.0]


def test_what_is_watched_is_looked_at_when_it_changes_not_before() -> None:
    clock, times = FakeClock(), []

    looked = looker(clock, recorded(clock, times, holds_from=7), deadline=20, watched=True, changes=(4.0, 7.0)).run()

    assert times == [0.0, 4.0, 7.0]
    assert looked.settled == 7.0


def test_attempts_are_limited() -> None:
    clock, times = FakeClock(), []

    looked = looker(clock, recorded(clock, times), policy=RetryPolicy(every=1, attempts=3)).run()

    assert len(times) == 3
    assert looked.outcome == Failed("not yet")


@pytest.mark.parametrize(("is_final", "looks"), [(True, 1), (False, 3)])
def test_what_the_cluster_will_never_let_us_see_is_not_asked_for_again(is_final: bool, looks: int) -> None:
    times = []

    def look() -> Outcome:
        times.append(1)
        error = ClusterError("it's kept out")
        error.is_final = is_final
        raise error

    looked = looker(FakeClock(), look, policy=RetryPolicy(every=1, attempts=3)).run()

    assert len(times) == looks
    assert looked.outcome == Errored("it's kept out", final=is_final)


def test_a_bug_in_a_step_is_an_error_and_no_pass() -> None:
    def look() -> Outcome:
        raise ZeroDivisionError("division by zero")

    looked = looker(FakeClock(), look).run()

    assert looked.outcome == Errored("internal error in this step: ZeroDivisionError: division by zero", final=True)


LATE: list[KoalesceError] = [
    ApiError("no answer within 4s", reason="Timeout"),
    CommandTimeout(["true"], 4, cancelled=False, stdout=b"", stderr=b""),
    ExecTimeout("web-0: still running at its deadline", cancelled=False),
]


@pytest.mark.parametrize("error", LATE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("is_wrapped", [False, True], ids=["itself", "told by another"])
def test_a_look_that_the_deadline_cuts_off_fails_with_what_was_seen_last(
    error: KoalesceError, is_wrapped: bool
) -> None:
    clock = FakeClock()

    def look() -> Outcome:
        if clock.time < 6:
            return Failed("not yet", "ready", "starting")
        clock.time = 10.0
        if is_wrapped:
            raise ClusterError("the probe gave no answer") from error
        raise error

    outcome = looker(clock, look).run().outcome

    assert isinstance(outcome, Failed)
    assert (outcome.expected, outcome.actual) == ("ready", "starting")
    assert outcome.message.startswith("not yet (a look after that was cut off by the deadline: ")


@pytest.mark.parametrize(
    "error",
    [ApiError("refused", reason="ConnectionRefused"), ApiError("gateway", status=504, reason="Timeout")],
    ids=str,
)
def test_a_cluster_that_is_gone_at_the_deadline_is_an_error(error: ApiError) -> None:
    clock = FakeClock()

    def look() -> Outcome:
        if clock.time < 10:
            return Failed("not yet")
        raise error

    assert looker(clock, look).run().outcome == Errored(error.message)


def test_a_change_wakes_the_sleeper_at_once() -> None:
    clock = FakeClock()
    sleeper = Sleeper(clock, Interrupt(threading.Event()))
    clock.time = COALESCE * 2
    sleeper.watching = True
    sleeper.wake()

    sleeper.sleep(3600)  # would outlast any test


def test_the_interrupt_ends_every_sleep() -> None:
    event = threading.Event()
    sleeper = Sleeper(FakeClock(), Interrupt(event))
    event.set()

    with pytest.raises(Interrupted):
        sleeper.sleep(3600)


def test_a_childs_end_leaves_the_run_alone() -> None:
    run = Interrupt(threading.Event())
    child = run.child()

    child.set("time is over")

    assert (child.event.is_set(), run.event.is_set(), child.reason) == (True, False, "time is over")


def answers(*outcomes: ApiError | Outcome) -> Callable[[], Outcome]:
    rest: Iterator[ApiError | Outcome] = iter(outcomes)

    def act() -> Outcome:
        answer = next(rest)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    return act


def acted(act: Callable[[], Outcome], clock: FakeClock) -> tuple[Outcome, int, float]:
    looked = act_until_ready(
        act, deadline=10, clock=clock, sleeper=JumpingSleeper(clock), policy=RetryPolicy(every=1, backoff=1, longest=1)
    )
    return looked.outcome, looked.attempts, clock.time


def test_an_action_is_done_once() -> None:
    assert acted(answers(Failed("no", final=True)), FakeClock()) == (Failed("no", final=True), 1, 0.0)


def test_an_action_waits_for_an_api_server_that_is_not_ready() -> None:
    refused = ApiError("connection refused", status=0, reason="ConnectionRefused")

    assert acted(answers(refused, refused, Passed("applied")), FakeClock()) == (Passed("applied"), 3, 2.0)


def test_a_refused_action_fails_at_once() -> None:
    invalid = ApiError("spec.replicas: must be a number", status=422, reason="Invalid")

    assert acted(answers(invalid), FakeClock()) == (
        Failed("spec.replicas: must be a number", actual="Invalid", final=True), 1, 0.0,
    )  # fmt: skip


def test_an_api_server_that_never_gets_ready_is_an_error() -> None:
    outcome, _, ended = acted(
        answers(*[ApiError("connection refused", status=0, reason="ConnectionRefused")] * 99), FakeClock()
    )

    assert (outcome, ended) == (Errored("connection refused"), 10.0)


def test_what_is_compared_with_the_look_before_is_looked_at_again_soon_after_a_change() -> None:
    clock = FakeClock()
    outcomes = iter([Passed("as it is"), Failed("moved")])
    looker = Looker(
        rule=StableFor(deadline=60.0, hold=2.0), policy=RetryPolicy(every=1, backoff=1, longest=1), clock=clock,
        sleeper=JumpingSleeper(clock, (1.0,)), look=lambda: next(outcomes, Passed("as it was")), is_watched=lambda: True,
        compares=True,
    )  # fmt: skip

    looked = looker.run()

    assert isinstance(looked.outcome, Passed)
    assert looked.seconds == 4.0  # moved at 1, looked at again at 2, and stable for 2

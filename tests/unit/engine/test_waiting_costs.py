"""What waiting costs the API server, counted in requests, through the engine's own waiting and the real client."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from koalesce.clock import SystemClock
from koalesce.engine.attempts import COALESCE, Interrupt, Looked, Looker, RetryPolicy, Sleeper
from koalesce.engine.verdicts import Eventually
from koalesce.engine.waiting import POLICY, Waiter
from koalesce.kube import Kube, View
from koalesce.steps.base import Failed, Outcome, Passed
from tests.unit.engine.test_attempts import FakeClock, JumpingSleeper
from tests.unit.kube.api_server import FakeApi, serve
from tests.unit.kube.conftest import LIMITS

WAITS = 500
STEP = RetryPolicy()  # of a step without `retry`


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def kube(api: FakeApi, tmp_path: Path) -> Iterator[Kube]:
    """A client that compares what it knows with the server's word at each look, and has patience with a slow machine."""
    with serve(api, tmp_path) as kubeconfig:
        made = Kube(kubeconfig, limits=replace(LIMITS, trust=0.0, pause=30, silence=60, catch_up=10))
        yield made
        made.close()


def look_for(name: str, *, within: float = 30) -> Callable[[View], Outcome]:
    """A look, whose reads have as much time as the step has left."""
    end = time.monotonic() + within

    def look(view: View) -> Outcome:
        found = view.get(view.kube.resource("cm"), name, "default", timeout=end - time.monotonic())
        return Passed("there") if found else Failed(f"{name} does not exist")

    return look


def wait_in_jumps(kube: Kube, look: Callable[[View], Outcome], seconds: float, policy: RetryPolicy = STEP) -> Looked:
    """A wait, in which time passes at once."""
    clock = FakeClock()
    view = kube.view(lambda: None)

    def attempt() -> Outcome:
        view.begin()
        return look(view)

    try:
        return Looker(
            rule=Eventually(deadline=seconds), policy=policy, clock=clock, sleeper=JumpingSleeper(clock), look=attempt,
            is_watched=lambda: view.has_read,
        ).run()  # fmt: skip
    finally:
        view.close()


def test_five_hundred_waits_on_one_kind_and_namespace_are_one_watch(kube: Kube, api: FakeApi) -> None:
    waiter = Waiter(clock=SystemClock(), interrupt=Interrupt(threading.Event()))
    passed: list[Outcome] = []

    def wait(number: int) -> None:
        passed.append(waiter.until(kube, look_for(f"made-{number % 10}"), timeout=60).outcome)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(WAITS)]
    for thread in threads:
        thread.start()
    for number in range(10):
        api.put(f"made-{number}")
    for thread in threads:
        thread.join()

    assert passed == [Passed("there")] * WAITS
    assert len(api.watches()) == 1


def test_a_wait_that_fails_after_thirty_seconds_takes_a_handful_of_requests(kube: Kube, api: FakeApi) -> None:
    looked = wait_in_jumps(kube, look_for("never"), 30)

    assert looked.outcome == Failed("never does not exist")
    assert len(api.requests) <= 6, api.requests  # two of discovery, a watch, and a comparison for each of two looks


def test_a_wait_for_what_another_writes_about_asks_nothing_for_its_changes(kube: Kube, api: FakeApi) -> None:
    waiter = Waiter(clock=SystemClock(), interrupt=Interrupt(threading.Event()))
    thread = threading.Thread(target=lambda: waiter.until(kube, look_for("last"), timeout=60))
    thread.start()
    for number in range(200):
        api.put(f"other-{number}")
    api.put("last")
    thread.join()

    assert len(api.requests) <= 6, api.requests


@pytest.mark.parametrize("policy", [STEP, POLICY], ids=["a step's", "the engine's own"])
def test_an_api_server_that_answers_500_for_thirty_seconds_gets_fewer_than_twenty_requests_from_a_wait(
    kube: Kube, api: FakeApi, policy: RetryPolicy
) -> None:
    api.failing["/"] = (500, "internal error")

    looked = wait_in_jumps(kube, look_for("a"), 30, policy)

    assert "internal error" in getattr(looked.outcome, "message", "")
    assert 2 <= len(api.requests) < 20, len(api.requests)


@pytest.mark.parametrize("begins", ["with the wait", "during the wait"])
def test_a_watch_that_is_answered_500_backs_off_too(
    kube: Kube, api: FakeApi, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    monkeypatch.setattr("koalesce.kube.backoff._FIRST", 0.01)  # a tenth of everything, and three seconds for thirty
    monkeypatch.setattr("koalesce.kube.backoff._LONGEST", 0.5)
    waiter = Waiter(clock=SystemClock(), interrupt=Interrupt(threading.Event()))
    kube.resource("cm")
    seen = threading.Event()

    def wait() -> None:
        waiter.until(kube, look_for("a", within=3), timeout=3, seen=lambda *_: seen.set())

    if begins == "with the wait":
        api.failing["/configmaps"] = (500, "internal error")
    thread = threading.Thread(target=wait)
    thread.start()
    if begins == "during the wait":
        assert seen.wait(60)
        api.failing["/configmaps"] = (500, "internal error")
        api.cut()
    before = len(api.requests)
    thread.join()

    assert 2 <= len(api.requests) - before < 20


class _JumpingEvent(threading.Event):
    """Never set; waiting for it takes the clock's time only."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.time += timeout or 0.0
        return False


def test_changes_without_end_are_looked_at_in_bursts() -> None:
    clock = FakeClock()
    interrupt = Interrupt(threading.Event())
    interrupt.event = _JumpingEvent(clock)
    sleeper = Sleeper(clock, interrupt)
    times: list[float] = []

    def look() -> Outcome:
        times.append(clock.time)
        sleeper.wake()  # it changes with every look
        return Failed("not yet")

    Looker(
        rule=Eventually(deadline=1.0), policy=STEP, clock=clock, sleeper=sleeper, look=look, is_watched=lambda: True
    ).run()

    assert len(times) <= 1 / COALESCE + 2
    assert times[-1] >= 1.0
    assert all(later - earlier >= COALESCE - 1e-9 for earlier, later in itertools.pairwise(times))

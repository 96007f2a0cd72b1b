"""The order of tests."""

import threading
from dataclasses import dataclass

import pytest

from koalesce.engine.schedule import run_all


@dataclass(frozen=True)
class Case:
    name: str
    is_alone: bool = False
    locks: tuple[str, ...] = ()


def test_results_come_in_the_order_of_the_file() -> None:
    cases = [Case("a"), Case("b"), Case("c")]

    assert run_all(cases, lambda case: case.name, parallel=3) == ["a", "b", "c"]


def test_neighbours_run_at_once() -> None:
    together = threading.Barrier(2, timeout=60)

    run_all([Case("a"), Case("b")], lambda _case: together.wait(), parallel=2)


def test_one_that_is_alone_has_nothing_beside_it() -> None:
    running: set[str] = set()
    beside: dict[str, set[str]] = {}
    lock = threading.Lock()

    def run(case: Case) -> None:
        with lock:
            running.add(case.name)
            beside[case.name] = set(running)
        with lock:
            running.discard(case.name)

    run_all([Case("a"), Case("b"), Case("alone", is_alone=True), Case("c")], run, parallel=4)

    assert beside["alone"] == {"alone"}
    assert list(beside)[2] == "alone"


class Watched:
    """Runs tests, and notes which of them began in which order and which ran beside each other."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.beside: set[frozenset[str]] = set()
        self._running: set[str] = set()
        self._lock = threading.Lock()
        self.go_on = threading.Event()
        self.held: set[str] = set()  # tests that wait for `go_on`

    def __call__(self, case: Case) -> None:
        with self._lock:
            self.order.append(case.name)
            self._running.add(case.name)
            self.beside |= {frozenset({case.name, other}) for other in self._running if other != case.name}
        if case.name in self.held:
            assert self.go_on.wait(60)
        with self._lock:
            self._running.discard(case.name)


def test_tests_that_share_a_lock_never_run_at_once_and_others_do() -> None:
    watched = Watched()
    watched.held = {"a"}

    def run(case: Case) -> None:
        watched(case)
        if case.name == "free":
            watched.go_on.set()  # a test without the lock ends while the lock is held

    cases = [Case("a", locks=("disk",)), Case("b", locks=("disk", "net")), Case("free")]
    run_all(cases, run, parallel=3)

    assert frozenset({"a", "b"}) not in watched.beside
    assert frozenset({"a", "free"}) in watched.beside
    assert watched.order == ["a", "free", "b"]


def test_nobody_overtakes_one_that_waits_for_the_same_lock() -> None:
    watched = Watched()
    watched.held = {"a"}
    cases = [
        Case("a", locks=("disk",)),
        Case("b", locks=("disk", "net")),  # waits for a
        Case("c", locks=("net",)),  # net is free, but b was first
        Case("d", locks=("other",)),
    ]

    def run(case: Case) -> None:
        watched(case)
        if case.name == "d":
            watched.go_on.set()

    run_all(cases, run, parallel=4)

    assert watched.order == ["a", "d", "b", "c"]


def test_locks_taken_in_any_order_never_lock_each_other_out() -> None:
    watched = Watched()
    cases = [Case(str(number), locks=("x", "y") if number % 2 else ("y", "x")) for number in range(20)]

    run_all(cases, watched, parallel=4)

    assert watched.order == [case.name for case in cases]
    assert watched.beside == set()


def test_one_that_is_alone_waits_although_its_locks_are_free() -> None:
    watched = Watched()

    run_all([Case("a"), Case("alone", is_alone=True, locks=("x",)), Case("b", locks=("x",))], watched, parallel=4)

    assert watched.order == ["a", "alone", "b"]
    assert watched.beside == set()


def test_what_a_test_raises_comes_out_after_the_others_have_ended() -> None:
    ended: list[str] = []

    def run(case: Case) -> None:
        if case.name == "bad":
            raise RuntimeError("a bug")
        ended.append(case.name)

    with pytest.raises(RuntimeError, match="a bug"):
        run_all([Case("bad"), Case("a"), Case("b")], run, parallel=1)

    assert ended == ["a", "b"]

"""The order of tests."""

import threading
from dataclasses import dataclass

from koalesce.engine.schedule import run_all


@dataclass(frozen=True)
class Case:
    name: str
    is_alone: bool = False


def test_results_come_in_the_order_of_the_file() -> None:
    cases = [Case("a"), Case("b"), Case("c")]

    assert run_all(cases, lambda case: case.name, parallel=3) == ["a", "b", "c"]


def test_neighbours_run_at_once() -> None:
    together = threading.Barrier(2, timeout=10)

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

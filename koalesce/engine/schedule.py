"""In which order tests run: in parallel, but for those that want to be alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar


class Schedulable(Protocol):
    """What the schedule asks of a test."""

    @property
    def is_alone(self) -> bool:
        """Whether no other test may run beside it."""


_T = TypeVar("_T", bound=Schedulable)
_R = TypeVar("_R")


def run_all(tests: Sequence[_T], run: Callable[[_T], _R], *, parallel: int) -> list[_R]:
    """Run every test and return the results in the tests' order.

    Tests that stand next to each other run at once, `parallel` at the most; one that is alone waits for those before it, and those
    after it wait for it: the order of the file is the order of what depends on order.
    """
    results: dict[int, Future[_R]] = {}
    with ThreadPoolExecutor(max(1, parallel), thread_name_prefix="test") as pool:
        pending: list[Future[_R]] = []
        for index, test in enumerate(tests):
            if test.is_alone:
                wait(pending)
                pending = []
            results[index] = pool.submit(run, test)
            pending.append(results[index])
            if test.is_alone:
                wait(pending)
                pending = []
    return [results[index].result() for index in range(len(tests))]

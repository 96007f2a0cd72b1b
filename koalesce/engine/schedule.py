"""In which order tests run: in parallel, but for those that want to be alone, or that share a lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar


class Schedulable(Protocol):
    """What the schedule asks of a test."""

    @property
    def is_alone(self) -> bool:
        """Whether no other test may run beside it."""

    @property
    def locks(self) -> Collection[str]:
        """Names of things that only one test at a time may use."""


_T = TypeVar("_T", bound=Schedulable)
_R = TypeVar("_R")


def run_all(tests: Sequence[_T], run: Callable[[_T], _R], *, parallel: int) -> list[_R]:
    """Run every test and return the results in the tests' order; raises what one of them raised, once all have ended.

    Tests run at once, `parallel` at the most; one that is alone waits for those before it, and those after it wait for it: the
    order of the file is the order of what depends on order. Of those that share a lock, one runs after the other in the file's
    order, while those that don't share it go on. A test takes all of its locks together, so none ever waits for another in a circle.
    """
    return _Schedule(tests, run).run(max(1, parallel))


class _Schedule(Generic[_T, _R]):
    """The tests of one cluster: those that wait, in order, and those that run."""

    def __init__(self, tests: Sequence[_T], run: Callable[[_T], _R]) -> None:
        self._tests = tests
        self._run_one = run
        self._waiting = list(range(len(tests)))
        self._running: set[int] = set()
        self._results: dict[int, _R] = {}
        self._errors: list[BaseException] = []
        self._changed = threading.Condition()

    def run(self, parallel: int) -> list[_R]:
        with ThreadPoolExecutor(parallel, thread_name_prefix="test") as pool, self._changed:
            while self._waiting:
                for index in self._startable(parallel):
                    self._waiting.remove(index)
                    self._running.add(index)
                    pool.submit(self._run, index)
                if self._waiting:
                    self._changed.wait()
        if self._errors:
            raise self._errors[0]
        return [self._results[index] for index in range(len(self._tests))]

    def _startable(self, parallel: int) -> list[int]:
        """Those that may start now. A test never overtakes one before it that waits for a lock of its own."""
        found: list[int] = []
        taken = {lock for index in self._running for lock in self._tests[index].locks}
        if any(self._tests[index].is_alone for index in self._running):
            return []
        for index in self._waiting:
            test = self._tests[index]
            busy = len(self._running) + len(found)
            if busy >= parallel:
                break
            if test.is_alone:
                if not busy and index == self._waiting[0]:
                    found.append(index)
                break
            if taken.isdisjoint(test.locks):
                found.append(index)
            taken.update(test.locks)
        return found

    def _run(self, index: int) -> None:
        try:
            result = self._run_one(self._tests[index])
        except BaseException as error:
            with self._changed:
                self._errors.append(error)
        else:
            with self._changed:
                self._results[index] = result
        finally:
            with self._changed:
                self._running.discard(index)
                self._changed.notify_all()

"""How long something may live, how it is told to end, and what must be undone after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from koalesce.clock import Clock
from koalesce.errors import KoalesceError

LAST_LOOK = 2.0  # seconds that a look at the very deadline still gets


@dataclass(slots=True, kw_only=True)
class TestScope:
    """The undo list of a test; its steps' scopes add to it. Undone in reverse."""

    __test__ = False

    cancel: threading.Event
    place: str = ""  # the cluster that its steps act on, where there are several
    _undos: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def within(self, cancel: threading.Event) -> TestScope:
        """The same undo list for something that is cancelled by itself."""
        return TestScope(cancel=cancel, place=self.place, _undos=self._undos, _lock=self._lock)

    def at(self, place: str) -> TestScope:
        """The same undo list for what is done in another cluster, where things may have the same names."""
        return TestScope(cancel=self.cancel, place=place, _undos=self._undos, _lock=self._lock)

    def defer(self, what: str, undo: Callable[[], None]) -> None:
        """Register an undo; the same `what` is registered once."""
        what = f"{what} in {self.place}" if self.place else what
        with self._lock:
            if all(known != what for known, _ in self._undos):
                self._undos.append((what, undo))

    def unwind(self) -> list[str]:
        """Undo everything, last first; returns a sentence for each undo that failed."""
        problems = []
        while self._undos:
            with self._lock:
                what, undo = self._undos.pop()
            try:
                undo()
            except KoalesceError as error:
                problems.append(f"{what}: {error.message}")
        return problems


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScope:
    """The life of one step: its deadline, in the clock's seconds, and its test's cancel and undo list."""

    test: TestScope
    clock: Clock
    deadline: float

    @property
    def cancel(self) -> threading.Event:
        """Set when the step must end now."""
        return self.test.cancel

    def remaining(self) -> float:
        """Seconds until the deadline; a look at the deadline itself still gets a moment."""
        return max(self.deadline - self.clock.monotonic(), LAST_LOOK)

    def now(self) -> float:
        """Seconds of the run's clock."""
        return self.clock.monotonic()

    def defer(self, what: str, undo: Callable[[], None]) -> None:
        """Register an undo with the test."""
        self.test.defer(what, undo)

"""Iterates over a run's events in a thread of its own, so that who waits for the next one can also do something else."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from koalesce.events import AnyEvent


class Pump:
    """The events of a run, one after the other; `is_over` once there are no more, or the engine raised."""

    def __init__(self, events: Iterator[AnyEvent]) -> None:
        self._events = events
        self._queue: queue.SimpleQueue[AnyEvent | BaseException | None] = queue.SimpleQueue()
        self.is_over = False
        threading.Thread(target=self._work, name="events", daemon=True).start()

    def next(self, timeout: float | None = None) -> AnyEvent | None:
        """The next event, or None where none came in time (in seconds) or none will; raises what the engine raised."""
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if item is None or isinstance(item, BaseException):
            self.is_over = True
            if item is not None:
                raise item
        return item

    def _work(self) -> None:
        try:
            for event in self._events:
                self._queue.put(event)
        except BaseException as error:
            self._queue.put(error)  # raised again by `next`
        else:
            self._queue.put(None)

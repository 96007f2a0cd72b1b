"""The one stream of events of a run: stamped, masked, and handed over in order."""

from __future__ import annotations

import dataclasses
import queue
from collections.abc import Iterator

from koalesce.clock import Clock
from koalesce.engine.masking import Masks
from koalesce.events import AnyEvent, RunFinished


class EventStream:
    """Many threads put events in, one consumer takes them out until the run is finished."""

    def __init__(self, clock: Clock) -> None:
        self.masks = Masks()
        self._clock = clock
        self._began = clock.monotonic()
        self._queue: queue.SimpleQueue[AnyEvent] = queue.SimpleQueue()

    def emit(self, event: AnyEvent) -> None:
        """Add an event, with the time and without secrets."""
        stamped = dataclasses.replace(
            event,
            at=self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            elapsed=round(self._clock.monotonic() - self._began, 4),
        )
        self._queue.put(self.masks.event(stamped))

    def __iter__(self) -> Iterator[AnyEvent]:
        while True:
            event = self._queue.get()
            yield event
            if isinstance(event, RunFinished):
                return

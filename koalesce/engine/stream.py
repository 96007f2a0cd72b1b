"""The one stream of events of a run: stamped, masked, and handed over in order."""

from __future__ import annotations

import dataclasses
import queue
from collections.abc import Callable, Iterator

from koalesce.clock import Clock
from koalesce.engine.masking import Masks
from koalesce.events import (
    AnyEvent,
    PhaseFinished,
    PhaseProgress,
    PhaseStarted,
    RunFinished,
    StepAttempted,
    StepFinished,
    StepStarted,
)


class EventStream:
    """Many threads put events in, one consumer takes them out until the run is finished."""

    def __init__(self, clock: Clock) -> None:
        self.masks = Masks()
        self._clock = clock
        self._began = clock.monotonic()
        self._queue: queue.SimpleQueue[AnyEvent] = queue.SimpleQueue()

    def emit(self, event: AnyEvent) -> AnyEvent:
        """Add an event, with the time and without secrets; as it is told."""
        stamped = dataclasses.replace(
            event,
            at=self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            elapsed=round(self._clock.monotonic() - self._began, 4),
        )
        told = self.masks.event(stamped)
        self._queue.put(told)
        return told

    def __iter__(self) -> Iterator[AnyEvent]:
        while True:
            event = self._queue.get()
            yield event
            if isinstance(event, RunFinished):
                return


class PartStream(EventStream):
    """The same stream for one of several clusters of a spec: what is told of its making bears its name."""

    def __init__(self, stream: EventStream, part: str) -> None:
        self.masks = stream.masks
        self._stream = stream
        self._part = part

    def emit(self, event: AnyEvent) -> AnyEvent:
        """Add an event, with the cluster's name behind its phase."""
        match event:
            case PhaseStarted() | PhaseProgress() | PhaseFinished():
                event = dataclasses.replace(event, phase=f"{event.phase} [{self._part}]")
            case StepStarted() | StepAttempted() | StepFinished():
                event = dataclasses.replace(event, test=f"{event.test} [{self._part}]")
            case _:
                pass
        return self._stream.emit(event)

    def __iter__(self) -> Iterator[AnyEvent]:
        return iter(self._stream)


class HeardStream(EventStream):
    """The same stream for one spec; `hear` is told its events as everybody is told them."""

    def __init__(self, stream: EventStream, hear: Callable[[AnyEvent], None]) -> None:
        self.masks = stream.masks
        self._stream = stream
        self._hear = hear

    def emit(self, event: AnyEvent) -> AnyEvent:
        """Add an event."""
        told = self._stream.emit(event)
        self._hear(told)
        return told

    def __iter__(self) -> Iterator[AnyEvent]:
        return iter(self._stream)

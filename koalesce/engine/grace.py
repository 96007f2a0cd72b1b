"""Time for cleaning up after the run was told to end: short, and not to be interrupted but by its own end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from koalesce.engine.attempts import Interrupt

GRACE = 10.0  # seconds that cleanup steps have once the run is to end


@contextmanager
def grace(interrupt: Interrupt, seconds: float = GRACE) -> Iterator[Interrupt]:
    """An interrupt for steps that clean up: it's set so many seconds after the run's own, even if that was before."""
    own = Interrupt(threading.Event())
    timers: list[threading.Timer] = []

    def bound() -> None:
        timer = threading.Timer(seconds, own.set, (f"its time after the interruption ({seconds:g}s) is over",))
        timer.daemon = True
        timers.append(timer)
        timer.start()

    interrupt.subscribe(bound)
    try:
        yield own
    finally:
        interrupt.unsubscribe(bound)
        for timer in timers:
            timer.cancel()
        own.event.set()  # ends its thread

"""Parts of making a cluster ready, told as pairs of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from koalesce.engine.session import RunSession
from koalesce.events import PhaseFinished, PhaseProgress, PhaseStarted, Status


class Verdict(Exception):
    """A verdict on its way out of a phase: what is installed doesn't do what it should, or can't be looked at."""

    status: Status


@contextmanager
def phase(session: RunSession, spec: str, name: str) -> Iterator[Callable[[str], None]]:
    """Tell that a phase begins and how it ended; gives a function that tells of its progress."""
    began = session.clock.monotonic()
    session.emit(PhaseStarted(spec=spec, phase=name))
    try:
        yield lambda message: session.emit(PhaseProgress(spec=spec, phase=name, message=message))
    except BaseException as error:
        seconds = round(session.clock.monotonic() - began, 4)
        text = str(error) or type(error).__name__
        status: Status = error.status if isinstance(error, Verdict) else "error"
        session.emit(PhaseFinished(spec=spec, phase=name, status=status, seconds=seconds, message=text))
        raise
    seconds = round(session.clock.monotonic() - began, 4)
    session.emit(PhaseFinished(spec=spec, phase=name, status="passed", seconds=seconds))

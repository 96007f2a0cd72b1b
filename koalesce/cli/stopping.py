"""Signals that ask a run to stop: the first ends it in order, the second leaves at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from koalesce.cli import exit_codes

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether the run is to stop, why, and how often people asked. `cancel` is what the engine looks at."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.requests = 0
        self.reason = ""

    def request(self, reason: str) -> None:
        """Somebody asks to stop; the second time they mean at once."""
        self.requests += 1
        self.end(reason)

    def end(self, reason: str) -> None:
        """Stop for a reason of our own."""
        self.reason = self.reason or reason
        self.cancel.set()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP while the block runs; one that is ignored (nohup, `&` in a script) stays so."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in taken:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number in taken:
                signal.signal(number, before[number])

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.request(signal.Signals(number).name)
        if self.requests > 2:  # whoever asked twice was to be told what is left, but that hangs (a terminal on hold)
            os._exit(exit_codes.INTERRUPTED)

"""Ends calls that outlive their deadline or are cancelled, by shutting down the socket that their thread is blocked on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from koalesce.kube.errors import CANCELLED, TIMEOUT
from koalesce.process import Cancel

_TICK = 0.05


class Call:
    """A call under way. `ended` says why it was ended from outside (an error's reason); empty if it wasn't."""

    def __init__(self, deadline: float | None = None, cancel: Cancel | None = None) -> None:
        self.deadline = deadline
        self.cancel = cancel
        self.ended = ""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def attach(self, connection: socket.socket | None) -> None:
        """The socket that the call now blocks on; shut down at once if the call was ended before."""
        with self._lock:
            self._socket = connection
            if self.ended:
                self._shut()

    def allow(self, silence: float) -> None:
        """Let the socket be silent for this many seconds from now on."""
        with self._lock:
            if self._socket is not None:
                self._socket.settimeout(silence)

    def end(self, why: str) -> None:
        """End it, from any thread."""
        with self._lock:
            self.ended = self.ended or why
            self._shut()

    def is_due(self, now: float) -> str:
        """Why it has to end now; empty while it may go on."""
        if self.cancel is not None and self.cancel.is_set():
            return CANCELLED
        return TIMEOUT if self.deadline is not None and now >= self.deadline else ""

    def _shut(self) -> None:
        if self._socket is not None:
            # Not SSLSocket.shutdown: it drops the TLS state that the blocked thread is using.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Guard:
    """One thread for all calls of a cluster; it sleeps while there are none."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._calls: set[Call] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextlib.contextmanager
    def watch(self, call: Call) -> Iterator[Call]:
        """Look after a call while the block runs."""
        with self._wake:
            self._calls.add(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="koalesce-kube-guard", daemon=True)
                self._thread.start()
            elif len(self._calls) == 1:
                self._wake.notify()
        try:
            yield call
        finally:
            with self._wake:
                self._calls.discard(call)

    def close(self) -> None:
        """End all calls and the thread."""
        with self._wake:
            self._closed = True
            for call in self._calls:
                call.end(CANCELLED)
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(2)

    def _run(self) -> None:
        with self._wake:
            while not self._closed:
                now = time.monotonic()
                for call in self._calls:
                    if why := call.is_due(now):
                        call.end(why)
                self._wake.wait(_TICK if self._calls else None)

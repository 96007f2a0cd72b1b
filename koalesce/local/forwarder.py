"""Forwards TCP connections to an API server inside the cluster's network namespace, from a port of this machine or of the cluster."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence

from koalesce.local.netns import NetNamespace

_CHUNK = 65536
_CONNECT = 5.0


class Forwarder:
    """Takes what connects to `listening`, and connects it from within `namespace` to the first of the `targets` of that moment that takes it."""

    def __init__(
        self, listening: socket.socket, namespace: NetNamespace, targets: Callable[[], Sequence[tuple[str, int]]]
    ) -> None:
        self._listening = listening
        self._namespace = namespace
        self._targets = targets
        self._closed = False
        self._pairs: set[tuple[str, socket.socket, socket.socket]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._listening.getsockname()[1]
        return port

    def start(self) -> None:
        """Forward from threads of its own."""
        threading.Thread(target=self._accept, name="forwarder", daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listening.accept()
            except OSError:
                if self._closed:
                    return
                continue
            threading.Thread(target=self._serve, args=(near,), name="forwarding", daemon=True).start()

    def drop(self, address: str) -> None:
        """End the connections to an address, so that whoever made them makes others."""
        for target, *pair in list(self._pairs):
            for one in pair if target == address else ():
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            address, far = self._connected()
            pair = (address, near, far)
            self._pairs.add(pair)
            with far, contextlib.ExitStack() as undo:
                undo.callback(self._pairs.discard, pair)
                far.settimeout(None)
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=_copy, args=(far, near), name="forwarding", daemon=True)
                back.start()
                _copy(near, far)
                back.join()

    def _connected(self) -> tuple[str, socket.socket]:
        """A connection to the first target that takes one, and its address; OSError if none does."""
        problem = OSError("there is nowhere to connect to")
        for target in self._targets():
            with self._namespace.entered():
                far = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, socket.SOCK_STREAM)
            try:
                far.settimeout(_CONNECT)
                far.connect(target)
            except OSError as error:
                far.close()
                problem = error
            else:
                return target[0], far
        raise problem


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy one direction to its end, and pass the end on."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)

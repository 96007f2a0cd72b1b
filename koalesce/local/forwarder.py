"""Forwards TCP connections from a port of this machine to the API server inside the cluster's network namespace."""

from __future__ import annotations

import contextlib
import socket
import threading

from koalesce.local.netns import NetNamespace

_CHUNK = 65536
_CONNECT = 10.0


class Forwarder:
    """Takes what connects to `listening`, and connects it to `target` from within `namespace`."""

    def __init__(self, listening: socket.socket, namespace: NetNamespace, target: tuple[str, int]) -> None:
        self._listening = listening
        self._namespace = namespace
        self._target = target
        self._closed = False

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

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            with self._namespace.entered():
                far = socket.socket(socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET, socket.SOCK_STREAM)
            with far:
                far.settimeout(_CONNECT)
                far.connect(self._target)
                far.settimeout(None)
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=_copy, args=(far, near), name="forwarding", daemon=True)
                back.start()
                _copy(near, far)
                back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy one direction to its end, and pass the end on."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)

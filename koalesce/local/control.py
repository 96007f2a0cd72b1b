"""Where a cluster's supervisor is asked for something: a socket in the cluster's folder, which only its owner may use.

One connection is for one fault: {"begin": FAULT} has it happen, {"undo": true} undoes it; each is answered by {"done": true} or
{"error": …, "hint": …}. A fault ends at the latest with its connection, whatever ends that.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from koalesce.errors import ClusterError, KoalesceError

_log = logging.getLogger(__name__)
SOCKET = "control"
_PATIENCE = 120.0

Undo = Callable[[], None]


class Control:
    """The supervisor's side. `begin` has a fault happen and returns what undoes it."""

    def __init__(self, folder: Path, begin: Callable[[Mapping[str, Any]], Undo], stopping: threading.Event) -> None:
        self._begin = begin
        self._stopping = stopping
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _address(folder) as address:
            self._listening.bind(address)
        (folder / SOCKET).chmod(0o600)
        self._listening.listen(16)

    def start(self) -> None:
        """Answer from now on, in threads of the caller's network namespace."""
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            threading.Thread(target=self._serve, args=(connection,), name="fault", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        undos: list[Undo] = []
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as lines:
            for line in lines:
                answer = self._answer(json.loads(line), undos)
                connection.sendall(json.dumps(answer).encode() + b"\n")
        if undos and not self._stopping.is_set():  # with the cluster, its faults end, too
            _log.info("who asked for a fault is gone: undoing it")
            self._answer({"undo": True}, undos)

    def _answer(self, message: Mapping[str, Any], undos: list[Undo]) -> dict[str, Any]:
        try:
            if "begin" in message:
                _log.info("fault: %s", json.dumps(message["begin"]))
                undos.append(self._begin(message["begin"]))
            while "undo" in message and undos:
                undos.pop()()
        except KoalesceError as error:
            _log.warning("%s", error)
            return {"error": error.message, "hint": error.hint}
        except Exception as error:  # a bug of ours must not leave a fault in place, nor whoever asked without an answer
            _log.exception("a fault, or its undo, has failed")
            return {"error": f"{type(error).__name__}: {error}", "hint": None}
        return {"done": True}


class Asking:
    """The other side: a connection to the supervisor of a cluster, by the cluster's folder."""

    def __init__(self, folder: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.settimeout(_PATIENCE)
        try:
            with _address(folder) as address:
                self._connection.connect(address)
        except OSError as error:
            self._connection.close()
            raise ClusterError(
                f"the cluster's supervisor can't be asked for faults: {error.strerror}",
                hint="a cluster that an earlier version made has to be made anew",
            ) from error
        self._lines = self._connection.makefile("rb")

    def ask(self, **message: Any) -> None:
        """Have the supervisor do something, and return when it's done; ClusterError with its reason, or without an answer."""
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
            line = self._lines.readline()
        except TimeoutError as error:
            raise ClusterError(f"the cluster's supervisor has not done it within {_PATIENCE:.0f} s") from error
        except OSError as error:
            raise ClusterError(f"the cluster's supervisor is gone: {error.strerror}") from error
        if not line:
            raise ClusterError("the cluster's supervisor is gone")
        answer = json.loads(line)
        if "error" in answer:
            raise ClusterError(answer["error"], hint=answer["hint"])

    def close(self) -> None:
        """Let go of it: what it did and has not undone, it undoes now."""
        self._lines.close()
        self._connection.close()


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's path by way of its folder's descriptor: the kernel takes no more than 107 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)

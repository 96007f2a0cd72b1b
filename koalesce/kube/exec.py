"""Commands in pods, over a websocket with a channel for each stream.

An end is only what the API server says is one: a connection that breaks before is ConnectionLost, never an exit code.
https://kubernetes.io/docs/reference/using-api/api-concepts/ and KEP-4006 (v5 adds closing a channel, which stdin needs)
"""

from __future__ import annotations

import io
import json
import os
import select
import ssl
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, BinaryIO

from websocket import ABNF, WebSocket, WebSocketException

from koalesce.errors import ClusterError
from koalesce.kube import websockets
from koalesce.kube.errors import BAD_ANSWER, CANCELLED, ApiError, ConnectionLost, ExecTimeout
from koalesce.kube.exec_result import ExecResult
from koalesce.kube.resource import PODS
from koalesce.process import Cancel

if TYPE_CHECKING:
    from koalesce.kube.guard import Call
    from koalesce.kube.transport import Transport

_V5, _V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_TAIL = 64 * 1024
_RESIZE_LOOK = 500  # milliseconds between two looks at the size of a terminal
_CHUNK = 4096  # small enough that a socket which can be written takes it whole


class _Channel(IntEnum):
    """The first byte of a message says what the rest is."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    STATUS = 3
    RESIZE = 4
    CLOSE = 255  # the second byte names the channel


def run(
    transport: Transport,
    pod: str,
    command: Sequence[str],
    *,
    namespace: str,
    container: str | None = None,
    stdin: bytes | BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    stderr: BinaryIO | None = None,
    size: Callable[[], tuple[int, int]] | None = None,
    timeout: float = 30.0,
    cancel: Cancel | None = None,
    cap: int = 1 << 20,
) -> ExecResult:
    """Run a command in a pod's container to its end.

    `stdin`, `stdout` and `stderr` may be open files: of any size, none of it in memory; what comes out of a pipe or a terminal is handed
    on as it comes. Each other stream keeps its first `cap` bytes and its last 64 KiB. With `size` the command gets a terminal, which is made
    as large (columns, lines) as that says whenever it says something else. ExecTimeout at the deadline (`timeout` in seconds) or when cancelled;
    ConnectionLost if the connection breaks first; ApiError if the API server or the runtime can't start it.
    """
    name = f"exec in {namespace}/{pod}: {' '.join(command)}"
    path = PODS.path(namespace, pod, "exec")
    query = {
        "command": list(command),
        "container": container,
        "stdin": stdin is not None,
        "stdout": True,
        "stderr": size is None,  # a terminal has one stream for both
        "tty": size is not None,
    }
    began = time.monotonic()
    with transport.guard(timeout, cancel) as call:
        connection = websockets.connect(
            transport, path, query, protocols=(_V5, _V4), call=call, timeout=timeout, name=name
        )
        try:
            session = _Session(connection, call, name, stdin, Streams.of(stdout, stderr, cap), size)
            code = session.follow()
        finally:
            connection.shutdown()  # type: ignore[no-untyped-call]  # the library has few types
    return ExecResult(
        command=tuple(command),
        code=code,
        stdout=session.out.stdout.content(),
        stderr=session.out.stderr.content(),
        seconds=time.monotonic() - began,
        truncated=session.out.stdout.is_cut or session.out.stderr.is_cut,
    )


class Capture:
    """The head of a stream up to a cap, and its tail; what was between is counted and dropped."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Take more of the stream."""
        room = self._cap - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if (excess := len(self._tail) - _TAIL) > _TAIL:  # trimmed now and then, not at each frame
            del self._tail[:excess]
            self._dropped += excess

    @property
    def is_cut(self) -> bool:
        """Whether bytes were dropped."""
        return self._dropped > 0 or len(self._tail) > _TAIL

    def content(self) -> bytes:
        """What was kept, with a line in place of what wasn't."""
        if not self.is_cut:
            return bytes(self._head + self._tail)
        dropped = self._dropped + len(self._tail) - _TAIL
        return bytes(self._head) + b"\n[%d bytes left out]\n" % dropped + bytes(self._tail[-_TAIL:])


class Sink(Capture):
    """A stream that goes to a file as a whole."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(0)
        self._file = file

    def feed(self, data: bytes) -> None:
        """Write more of the stream."""
        self._file.write(data)


@dataclass(frozen=True, slots=True)
class Streams:
    """Where the output of a command goes."""

    stdout: Capture
    stderr: Capture

    @classmethod
    def of(cls, stdout: BinaryIO | None, stderr: BinaryIO | None, cap: int) -> Streams:
        """To these files; without one, what a capture keeps."""
        return cls(*(Capture(cap) if file is None else Sink(file) for file in (stdout, stderr)))


class _Session:
    """The conversation after the handshake. One thread reads and writes: a TLS socket can't be used by two at once."""

    def __init__(
        self,
        connection: WebSocket,
        call: Call,
        name: str,
        stdin: bytes | BinaryIO | None,
        out: Streams,
        size: Callable[[], tuple[int, int]] | None,
    ) -> None:
        self.out = out
        self._connection = connection
        self._call = call
        self._name = name
        self._input: BinaryIO = io.BytesIO(stdin or b"") if stdin is None or isinstance(stdin, bytes) else stdin
        self._live = _live(self._input)
        self._has_stdin_open = stdin is not None
        self._has_input = self._live is None  # whether reading it can't block now
        self._size = size
        self._told: tuple[int, int] | None = None
        if self._has_stdin_open and connection.subprotocol != _V5:
            raise ClusterError(
                f"{name}: this API server can't close a command's standard input, so the command would never end",
                hint="standard input needs an API server of 1.30 or later",
            )

    def follow(self) -> int:
        """Feed and drain until the end; the exit code."""
        try:
            while True:
                self._tell_size()
                is_readable, is_writable = self._wait()
                if is_readable:
                    status = self._receive()
                    if status is not None:
                        return self._exit_code(status)
                elif is_writable:
                    self._send()
        except (WebSocketException, OSError, ValueError) as error:  # ValueError: the socket was closed under our hands
            raise self._broken(error) from error

    def _wait(self) -> tuple[bool, bool]:
        """Whether there is something to read, and whether standard input can be written now. The guard ends the wait."""
        sock = self._connection.sock
        if sock is None:
            raise WebSocketException("closed")
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True, False
        poll = select.poll()
        wants_to_send = self._has_stdin_open and self._has_input
        poll.register(sock, select.POLLIN | (select.POLLOUT if wants_to_send else 0))
        if self._has_stdin_open and not self._has_input and self._live is not None:
            poll.register(self._live, select.POLLIN)
        events = dict(poll.poll(None if self._size is None else _RESIZE_LOOK))
        self._has_input |= self._live in events
        seen = events.get(sock.fileno(), 0)
        return bool(seen & ~select.POLLOUT), bool(seen & select.POLLOUT)

    def _tell_size(self) -> None:
        """Make the command's terminal as large as ours, whenever that has changed."""
        if self._size is None or (size := self._size()) == self._told:
            return
        self._told = size
        message = json.dumps({"Width": size[0], "Height": size[1]}).encode()
        self._connection.send(bytes([_Channel.RESIZE]) + message, ABNF.OPCODE_BINARY)

    def _receive(self) -> Mapping[str, Any] | None:
        """One message; the final status if it is that."""
        opcode, frame = self._connection.recv_data_frame()
        if opcode == ABNF.OPCODE_CLOSE:
            raise WebSocketException("closed by the server before the command's end was known")
        data = frame.data
        match data[0] if data else None:
            case _Channel.STDOUT:
                self.out.stdout.feed(data[1:])
            case _Channel.STDERR:
                self.out.stderr.feed(data[1:])
            case _Channel.STATUS if len(data) > 1:
                return _status(data[1:], self._name)
        return None

    def _send(self) -> None:
        chunk = self._input.read(_CHUNK) if self._live is None else os.read(self._live, _CHUNK)
        self._has_input = self._live is None
        if chunk:
            self._connection.send(bytes([_Channel.STDIN]) + chunk, ABNF.OPCODE_BINARY)
        else:
            self._connection.send(bytes([_Channel.CLOSE, _Channel.STDIN]), ABNF.OPCODE_BINARY)
            self._has_stdin_open = False

    def _exit_code(self, status: Mapping[str, Any]) -> int:
        if status.get("status") == "Success":
            return 0
        for cause in (status.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).isdigit():
                return int(cause["message"])
        raise ApiError.from_status({"code": 500, **status}, call=self._name)

    def _broken(self, error: Exception) -> ClusterError:
        stdout, stderr = self.out.stdout.content(), self.out.stderr.content()
        if self._call.ended:
            cancelled = self._call.ended == CANCELLED
            what = "cancelled" if cancelled else "still running at its deadline"
            return ExecTimeout(f"{self._name}: {what}", cancelled=cancelled, stdout=stdout, stderr=stderr)
        return ConnectionLost(f"{self._name}: the connection was lost: {error}", stdout=stdout, stderr=stderr)


def _live(file: BinaryIO) -> int | None:
    """The descriptor of a pipe, a terminal or the like, where reading may block; None for what can be read at once."""
    try:
        number = file.fileno()
    except (OSError, ValueError):
        return None
    return None if stat.S_ISREG(os.fstat(number).st_mode) else number


def _status(data: bytes, name: str) -> Mapping[str, Any]:
    try:
        status = json.loads(data)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        raise ApiError(f"{name}: the end is no Status object: {data[:200]!r}", reason=BAD_ANSWER)
    return status

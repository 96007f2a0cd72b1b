"""A local port whose connections go to a port of a pod, each over a websocket of its own.

A websocket of `v4.channel.k8s.io` carries one connection to a port: channel 0 is its data, channel 1 what went wrong, and the first two bytes
of each name the port. API servers pass it on to the kubelet as it is (those from 1.31 on also tunnel SPDY, which gives no more: the kubelet's
runtime ends both directions a second after one has ended). The other side's end comes as the websocket's; ours can't be told, so that
the websocket is closed once the pod has been silent for a second after it.
https://github.com/kubernetes/cri-streaming, pkg/streaming/portforward/websocket.go
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING

from websocket import ABNF, WebSocket, WebSocketException

from koalesce.errors import ClusterError, KoalesceError
from koalesce.kube import websockets
from koalesce.kube.errors import CANCELLED
from koalesce.kube.guard import Call
from koalesce.kube.resource import PODS

if TYPE_CHECKING:
    from koalesce.kube.transport import Transport

_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CHUNK = 4096  # small enough that a socket which can be written takes it whole
_MOST_WAITING = 256 * 1024
_CONNECT_TIMEOUT = 10.0
_GRACE = 1.0
_MOST_PROBLEMS = 20
ADDRESS = "127.0.0.1"


class PortForward:
    """Listens on a port of this machine from its making until `close`; ClusterError where that port isn't to be had.

    Each connection to it becomes one to `remote`, a port of the pod. One that can't be made, or breaks, is reset, and `problems` says why.
    """

    def __init__(self, transport: Transport, pod: str, namespace: str, remote: int, *, local: int = 0) -> None:
        self.pod, self.namespace, self.remote = pod, namespace, remote
        self._transport = transport
        self._lock = threading.Lock()
        self._problems: list[str] = []
        self._connections: dict[_Connection, threading.Thread] = {}
        self._is_closed = False
        self.connections = 0
        self._listener = _listen(local)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name=f"koalesce-forward-{self.port}", daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        return f"{ADDRESS}:{self.port} → {self.namespace}/{self.pod}:{self.remote}"

    @property
    def problems(self) -> list[str]:
        """Why connections could not be made or broke, in their order; the same is told once."""
        with self._lock:
            return list(dict.fromkeys(self._problems))

    def close(self) -> None:
        """Listen no more, and end all connections; returns when nothing is left of them."""
        with self._lock:
            self._is_closed = True
            under_way = dict(self._connections)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in under_way:
            connection.end()
        for thread in (self._thread, *under_way.values()):
            thread.join(_CONNECT_TIMEOUT)

    def _accept(self) -> None:
        while True:
            try:
                local, _ = self._listener.accept()
            except OSError:
                return
            connection = _Connection(self._transport, self, local)
            thread = threading.Thread(
                target=self._carry, args=(connection,), name=f"koalesce-forwarded-{self.port}", daemon=True
            )
            with self._lock:
                if self._is_closed:
                    local.close()
                    return
                self.connections += 1
                self._connections[connection] = thread
            thread.start()

    def _carry(self, connection: _Connection) -> None:
        problem = connection.carry()
        with self._lock:
            if problem and not self._is_closed and len(self._problems) < _MOST_PROBLEMS:
                self._problems.append(problem)
        connection.hang_up(with_reset=bool(problem))  # whoever sees the reset finds the problem told
        with self._lock:
            self._connections.pop(connection, None)


class _Connection:
    """One connection, carried by one thread: a TLS socket can't be used by two at once."""

    def __init__(self, transport: Transport, forward: PortForward, local: socket.socket) -> None:
        self._transport = transport
        self._forward = forward
        self._name = f"port {forward.remote} of {forward.namespace}/{forward.pod}"
        self._local = local
        self._call = Call()
        self._to_pod = bytearray()
        self._to_local = bytearray()
        self._said = bytearray()  # on the channel of errors
        self._seen = [0, 0]  # bytes of each channel so far: the first two are the port
        self._is_local_open = True
        self._quiet_since = 0.0

    def end(self) -> None:
        """End it, from any thread."""
        self._call.end(CANCELLED)
        with contextlib.suppress(OSError):
            self._local.shutdown(socket.SHUT_RDWR)

    def carry(self) -> str:
        """Carry until either side ends; returns what went wrong, empty if nothing did. The local side is still to be hung up."""
        problem = ""
        try:
            self._local.setblocking(False)
            remote = self._connect()
            try:
                self._pump(remote)
            finally:
                remote.shutdown()  # type: ignore[no-untyped-call]  # the library has few types
        except KoalesceError as error:
            problem = f"{self._name}: {error.message}"
        except (WebSocketException, OSError, ValueError) as error:  # ValueError: the socket was closed under our hands
            problem = f"{self._name}: the connection was lost: {error}"
        if self._said and self._is_local_open:
            problem = self._explained()
        self._drain()
        return problem

    def hang_up(self, *, with_reset: bool) -> None:
        """Close the local side. Whoever still sends would be reset by that, and might lose what it hasn't read: so let it notice."""
        with contextlib.suppress(OSError):
            if with_reset:
                self._local.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif self._is_local_open:
                self._local.shutdown(socket.SHUT_WR)
                self._local.settimeout(_GRACE)
                while self._local.recv(65536):
                    pass
        self._local.close()

    def _connect(self) -> WebSocket:
        path = PODS.path(self._forward.namespace, self._forward.pod, "portforward")
        query = {"ports": self._forward.remote}
        with self._transport.guard(_CONNECT_TIMEOUT, None) as call:
            remote = websockets.connect(
                self._transport,
                path,
                query,
                protocols=(_PROTOCOL,),
                call=call,
                timeout=_CONNECT_TIMEOUT,
                name="port-forward",
            )
        self._call.attach(remote.sock)
        return remote

    def _pump(self, remote: WebSocket) -> None:
        while True:
            readable, writable, local_events = self._wait(remote)
            if readable and not self._receive(remote):
                return
            if writable:
                self._send(remote)
            if local_events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._read_local()
            if local_events & select.POLLOUT:
                self._write_local()
            if not self._is_local_open and self._is_over():
                return

    def _wait(self, remote: WebSocket) -> tuple[bool, bool, int]:
        """Whether the pod's side can be read and written, and the events of the local side."""
        sock = remote.sock
        if sock is None:
            raise WebSocketException("closed")
        poll = select.poll()
        wants_remote = select.POLLIN if len(self._to_local) < _MOST_WAITING else 0
        poll.register(sock, wants_remote | (select.POLLOUT if self._to_pod else 0))
        wants_local = select.POLLIN if self._is_local_open and len(self._to_pod) < _MOST_WAITING else 0
        wants_local |= select.POLLOUT if self._to_local else 0
        if wants_local:
            poll.register(self._local, wants_local)
        is_pending = bool(wants_remote) and isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        timeout = 0 if is_pending else (None if self._is_local_open else _GRACE * 1000)
        events = dict(poll.poll(timeout))
        seen = events.get(sock.fileno(), 0)
        return (
            is_pending or bool(seen & ~select.POLLOUT),
            bool(seen & select.POLLOUT),
            events.get(self._local.fileno(), 0),
        )

    def _receive(self, remote: WebSocket) -> bool:
        """Take one message; False if it was the last."""
        opcode, frame = remote.recv_data_frame(control_frame=True)
        if opcode == ABNF.OPCODE_CLOSE:
            return False
        if opcode != ABNF.OPCODE_BINARY:
            return True  # a ping, which the library has answered
        self._quiet_since = time.monotonic()
        data: bytes = frame.data
        if not data or data[0] not in (_DATA, _ERROR):
            return True
        channel, rest = data[0], data[1:]
        skipped = max(0, 2 - self._seen[channel])
        self._seen[channel] += len(rest)
        (self._to_local if channel == _DATA else self._said).extend(rest[skipped:])
        return True

    def _send(self, remote: WebSocket) -> None:
        chunk = bytes(self._to_pod[:_CHUNK])
        del self._to_pod[:_CHUNK]
        remote.send(bytes([_DATA]) + chunk, ABNF.OPCODE_BINARY)

    def _read_local(self) -> None:
        try:
            data = self._local.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._to_pod += data
        if not data:
            self._is_local_open, self._quiet_since = False, time.monotonic()

    def _write_local(self) -> None:
        try:
            sent = self._local.send(self._to_local)
        except BlockingIOError:
            return
        except OSError:  # nobody is there any more
            self._is_local_open, sent = False, len(self._to_local)
        del self._to_local[:sent]

    def _is_over(self) -> bool:
        return not self._to_pod and not self._to_local and time.monotonic() - self._quiet_since >= _GRACE

    def _drain(self) -> None:
        """Give the local side what came before the end."""
        if self._to_local:
            self._local.settimeout(_CONNECT_TIMEOUT)
            with contextlib.suppress(OSError):
                self._local.sendall(self._to_local)

    def _explained(self) -> str:
        """The runtime's words, or a short form of the usual ones."""
        said = self._said.decode("utf-8", "replace").strip()
        if "connection refused" in said:
            return f"{self._name}: connection refused: nothing listens there"
        return f"{self._name}: {said}"


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((ADDRESS, port), backlog=128)
    except OSError as error:
        raise ClusterError(f"can't listen on {ADDRESS}:{port}: {error.strerror}") from error

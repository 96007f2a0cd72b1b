"""Port-forwards against a fake API server that speaks the kubelet's side of the protocol."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from koalesce.errors import ClusterError
from koalesce.kube import Kube
from koalesce.kube.limits import Limits
from koalesce.kube.portforward import PortForward
from tests.unit.kube.api_server import ExecConnection, FakeApi, serve

PORT = (8080).to_bytes(2, "little")


def greet(connection: ExecConnection) -> None:
    connection.send(0, PORT)
    connection.send(1, PORT)


def echo(connection: ExecConnection) -> None:
    """A server that says everything again, in capitals."""
    greet(connection)
    while (data := connection.receive()) is not None:
        connection.send(0, data[1:].upper())


@contextlib.contextmanager
def forwarding(kube: Kube, *, local: int = 0) -> Iterator[PortForward]:
    forward = PortForward(kube.transport, "web-0", "one", 8080, local=local)
    try:
        yield forward
    finally:
        forward.close()


@pytest.fixture
def forward(kube: Kube) -> Iterator[PortForward]:
    with forwarding(kube) as forward:
        yield forward


def ask(forward: PortForward, data: bytes) -> bytes:
    """Send, and read until as much came back."""
    with socket.create_connection(("127.0.0.1", forward.port), 60) as sock:
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        found = b""
        while len(found) < len(data) and (part := sock.recv(65536)):
            found += part
        sender.join()
        return found


def test_carries_bytes_both_ways_however_many(api: FakeApi, forward: PortForward) -> None:
    api.on_exec = echo
    data = b"some words " * 40_000

    assert ask(forward, data) == data.upper()
    assert api.requests[-1][1:] == ("/api/v1/namespaces/one/pods/web-0/portforward", {"ports": "8080"})
    assert (forward.connections, forward.problems) == (1, [])


def test_over_tls(tmp_path: Path, certificate: tuple[Path, Path], connect: Callable[[Path, Limits], Kube]) -> None:
    api = FakeApi()
    api.on_exec = echo
    with (
        serve(api, tmp_path, certificate=certificate) as kubeconfig,
        forwarding(connect(kubeconfig, Limits())) as forward,
    ):
        assert ask(forward, b"x" * 100_000) == b"X" * 100_000


def test_several_connections_at_the_same_time(api: FakeApi, forward: PortForward) -> None:
    api.on_exec = echo
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", forward.port), 60)) for _ in range(5)]
        for number, sock in enumerate(socks):
            sock.sendall(b"%d" % number)
        assert [sock.recv(10) for sock in reversed(socks)] == [b"4", b"3", b"2", b"1", b"0"]


def test_the_ports_name_may_come_in_pieces(api: FakeApi, forward: PortForward) -> None:
    def server(connection: ExecConnection) -> None:
        connection.send(0, PORT[:1])
        connection.send(0, PORT[1:] + b"hello")
        connection.frame(b"\x03\xe8", opcode=8)

    api.on_exec = server

    assert ask(forward, b"hello") == b"hello"


def test_a_ping_keeps_nobody_waiting(api: FakeApi, forward: PortForward) -> None:
    answered = threading.Event()

    def server(connection: ExecConnection) -> None:
        greet(connection)
        connection.frame(b"", opcode=9)
        assert connection.receive() == b""  # the pong
        answered.set()
        connection.send(0, (connection.receive() or b"")[1:].upper())

    api.on_exec = server

    with socket.create_connection(("127.0.0.1", forward.port), 60) as sock:
        assert answered.wait(60)
        sock.settimeout(60)
        sock.sendall(b"words")
        assert sock.recv(10) == b"WORDS"


def test_the_pods_end_is_ours(api: FakeApi, forward: PortForward) -> None:
    def server(connection: ExecConnection) -> None:
        greet(connection)
        connection.send(0, b"bye")
        connection.frame(b"\x03\xe8", opcode=8)

    api.on_exec = server

    with socket.create_connection(("127.0.0.1", forward.port), 60) as sock:
        assert (sock.recv(10), sock.recv(10)) == (b"bye", b"")
    assert forward.problems == []


def test_what_comes_after_our_end_still_comes(api: FakeApi, forward: PortForward) -> None:
    def server(connection: ExecConnection) -> None:
        greet(connection)
        connection.receive()
        closed.wait(60)
        connection.send(0, b"late")
        connection.receive()

    closed = threading.Event()
    api.on_exec = server

    with socket.create_connection(("127.0.0.1", forward.port), 60) as sock:
        sock.sendall(b"ask")
        sock.shutdown(socket.SHUT_WR)
        closed.set()
        assert (sock.recv(10), sock.recv(10)) == (b"late", b"")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (
            b"failed to connect to localhost:8080: connect: connection refused",
            "connection refused: nothing listens there",
        ),
        (b"no such sandbox", "no such sandbox"),
    ],
)
def test_what_the_runtime_says_is_told_and_the_connection_reset(
    api: FakeApi, forward: PortForward, said: bytes, problem: str
) -> None:
    def server(connection: ExecConnection) -> None:
        greet(connection)
        connection.send(1, said)
        connection.frame(b"\x03\xe8", opcode=8)

    api.on_exec = server

    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", forward.port), 60) as sock:
        sock.recv(1)
    forward.close()
    assert forward.problems == [f"port 8080 of one/web-0: {problem}"]


def test_a_pod_that_is_gone_is_told(api: FakeApi, forward: PortForward) -> None:
    api.failing["/portforward"] = (404, '{"kind": "Status", "code": 404, "message": "pods \\"web-0\\" not found"}')

    for _ in range(2):
        with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", forward.port), 60) as sock:
            sock.recv(1)
    forward.close()

    assert forward.problems == ['port 8080 of one/web-0: pods "web-0" not found']


def test_a_connection_cut_in_the_middle_is_no_end(api: FakeApi, forward: PortForward) -> None:
    def server(connection: ExecConnection) -> None:
        greet(connection)
        connection.send(0, b"half")
        connection.cut()

    api.on_exec = server

    with socket.create_connection(("127.0.0.1", forward.port), 60) as sock:
        assert sock.recv(10) == b"half"
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    forward.close()
    assert "the connection was lost" in forward.problems[0]


def test_nothing_is_left_after_its_end(api: FakeApi, kube: Kube) -> None:
    api.on_exec = echo
    with forwarding(kube) as forward, socket.create_connection(("127.0.0.1", forward.port), 60) as sock:
        sock.sendall(b"a")
        assert sock.recv(1) == b"A"
        forward.close()
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", forward.port), 60)
    assert not [thread.name for thread in threading.enumerate() if "forward" in thread.name]
    assert forward.problems == []


def test_a_port_that_is_taken(forward: PortForward, kube: Kube) -> None:
    with pytest.raises(ClusterError, match=rf"can't listen on 127.0.0.1:{forward.port}: Address already in use"):
        PortForward(kube.transport, "web-0", "one", 8080, local=forward.port)

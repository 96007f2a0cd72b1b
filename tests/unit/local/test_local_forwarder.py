from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from koalesce.local.forwarder import Forwarder
from koalesce.local.netns import NetNamespace


class Here(NetNamespace):
    """No other namespace: entering one needs root."""

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        yield


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


@pytest.fixture
def forwarder(target: socket.socket) -> Iterator[Forwarder]:
    made = Forwarder(socket.create_server(("127.0.0.1", 0)), Here(-1), lambda: [target.getsockname()])
    made.start()
    yield made
    made.close()


def connect(forwarder: Forwarder) -> socket.socket:
    return socket.create_connection(("127.0.0.1", forwarder.port), 60)


def test_both_directions_and_their_ends(forwarder: Forwarder, target: socket.socket) -> None:
    with connect(forwarder) as near, target.accept()[0] as far:
        far.settimeout(60)
        near.sendall(b"ping")
        near.shutdown(socket.SHUT_WR)
        assert far.makefile("rb").read() == b"ping"  # to the end, which is passed on
        far.sendall(b"pong")
        far.close()
        assert near.makefile("rb").read() == b"pong"


def test_much_data_in_both_directions_at_once(forwarder: Forwarder, target: socket.socket) -> None:
    data = bytes(8 * 1024 * 1024)
    received: list[int] = []

    def read(source: socket.socket) -> None:
        received.append(len(source.makefile("rb").read(len(data))))

    with connect(forwarder) as near, target.accept()[0] as far:
        threads = [threading.Thread(target=read, args=(one,)) for one in (near, far)]
        threads += [threading.Thread(target=one.sendall, args=(data,)) for one in (near, far)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert received == [len(data), len(data)]


def test_a_target_that_does_not_answer_ends_the_connection(target: socket.socket) -> None:
    address = target.getsockname()
    target.close()
    forwarder = Forwarder(socket.create_server(("127.0.0.1", 0)), Here(-1), lambda: [address])
    forwarder.start()

    with connect(forwarder) as near:
        assert near.recv(1) == b""

    forwarder.close()

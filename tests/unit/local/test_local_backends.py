"""Which API server connections go to, and what becomes of them when it doesn't work any more."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from koalesce.local.backends import Backends
from koalesce.local.forwarder import Forwarder
from koalesce.local.netns import NetNamespace

ADDRESSES = ("198.18.0.10", "198.18.0.11", "198.18.0.12")


class Here(NetNamespace):
    """No other namespace: entering one needs root."""

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        yield


@pytest.fixture
def backends() -> Backends:
    return Backends(ADDRESSES)


def order(backends: Backends) -> list[str]:
    return [address.rpartition(".")[2] for address, _ in backends.in_turn()]


def test_until_one_is_known_to_work_they_are_tried_as_they_come(backends: Backends) -> None:
    assert backends.in_turn() == [(address, 6443) for address in ADDRESSES]
    assert order(backends) == ["10", "11", "12"]


def test_those_that_work_take_turns_before_the_others(backends: Backends) -> None:
    backends.note(ADDRESSES[2], is_ready=True)
    backends.note(ADDRESSES[1], is_ready=True)

    found = [order(backends) for _ in range(2)]

    assert sorted(found) == [["11", "12", "10"], ["12", "11", "10"]]


def test_one_that_misses_now_and_then_is_kept(backends: Backends) -> None:
    lost: list[str] = []
    backends.on_lost.append(lost.append)

    for is_ready in (True, False, False, True, False, False, True):
        backends.note(ADDRESSES[1], is_ready=is_ready)

    assert lost == []
    assert order(backends)[0] == "11"


def test_one_that_misses_three_times_is_left_and_taken_back(backends: Backends) -> None:
    lost: list[str] = []
    backends.on_lost.append(lost.append)
    for address in ADDRESSES[:2]:
        backends.note(address, is_ready=True)

    for _ in range(4):
        backends.note(ADDRESSES[0], is_ready=False)

    assert lost == [ADDRESSES[0]], "said once"
    assert [order(backends)[0] for _ in range(2)] == ["11", "11"]
    backends.note(ADDRESSES[0], is_ready=True)
    assert {order(backends)[0] for _ in range(2)} == {"10", "11"}


@pytest.fixture
def servers() -> Iterator[list[socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.2", 0)) as other:
        for server in (one, other):
            server.settimeout(60)
        yield [one, other]


def connect(servers: list[socket.socket]) -> tuple[Forwarder, socket.socket]:
    targets = [server.getsockname() for server in servers]
    forwarder = Forwarder(socket.create_server(("127.0.0.1", 0)), Here(-1), lambda: targets)
    forwarder.start()
    return forwarder, socket.create_connection(("127.0.0.1", forwarder.port), 60)


def test_a_connection_goes_to_the_next_where_the_first_refuses_it(servers: list[socket.socket]) -> None:
    targets = [server.getsockname() for server in servers]
    servers[0].close()
    forwarder = Forwarder(socket.create_server(("127.0.0.1", 0)), Here(-1), lambda: targets)
    forwarder.start()

    with socket.create_connection(("127.0.0.1", forwarder.port), 60) as near, servers[1].accept()[0] as far:
        near.sendall(b"ping")
        assert far.recv(4) == b"ping"

    forwarder.close()


def test_connections_to_a_lost_one_end_and_others_go_on(servers: list[socket.socket]) -> None:
    forwarder, near = connect(servers)
    with near, servers[0].accept()[0] as far:
        near.sendall(b"ping")
        assert far.recv(4) == b"ping"

        forwarder.drop("127.0.0.2")
        far.sendall(b"pong")
        assert near.recv(4) == b"pong"
        forwarder.drop("127.0.0.1")

        assert (near.recv(1), far.recv(1)) == (b"", b"")
    forwarder.close()

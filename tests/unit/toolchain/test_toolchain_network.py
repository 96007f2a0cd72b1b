"""Opening URLs: what can be waited for, and that waiting can be ended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from koalesce.errors import Interrupted
from koalesce.toolchain.network import Network, Refused, Unreachable
from tests.unit.toolchain.web import Answer, Web


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_an_answer_is_read(web: Web) -> None:
    web.answers["/a"] = Answer(b"content")
    network = Network()

    with network.open(f"http://{web.address}/a", {}, cancel=threading.Event()) as answer:
        assert network.read(answer, 100) == b"content"


def test_another_status_is_a_refusal(web: Web) -> None:
    with pytest.raises(Refused, match="404"):
        Network().open(f"http://{web.address}/nothing", {})


def test_silence_is_no_answer(silent: socket.socket) -> None:
    with pytest.raises(Unreachable, match="no answer within"):
        Network(timeout=0.05).open(url(silent), {})


def test_waiting_for_an_answer_ends_when_it_is_to(silent: socket.socket) -> None:
    cancel = threading.Event()

    def hear() -> None:
        connection, _ = silent.accept()
        cancel.set()
        ended.wait(60)
        connection.close()

    ended = threading.Event()
    hearing = threading.Thread(target=hear)
    hearing.start()
    with pytest.raises(Interrupted):
        Network(timeout=60).open(url(silent), {}, cancel=cancel)
    ended.set()
    hearing.join()

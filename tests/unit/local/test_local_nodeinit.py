"""The init of a node as a process of its own, without the namespaces: they need root, and are tested on real clusters."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from koalesce.local.nodeinit import _first_line

CODE = """
import socket, sys
from koalesce.local import nodeinit
nodeinit.LOGS = sys.argv[2]
nodeinit._BACK_OFF = (0.01, 0.02)
nodeinit._Init(socket.socket(fileno=int(sys.argv[1])), {"PATH": "/usr/bin:/bin", "COLOUR": "red"}).run()
"""


class Init:
    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.control, theirs = socket.socketpair()
        self.control.settimeout(60)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(theirs.fileno()), str(logs)], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self.lines = self.control.makefile("rb")

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.lines.readline())
        return message

    def start(self, script: str, *, restart: bool) -> None:
        request = {
            "op": "start", "name": "s", "argv": ["sh", "-c", script], "environment": {"SIZE": "9"}, "restart": restart,
        }  # fmt: skip
        self.send(request)

    def send(self, request: dict[str, Any]) -> None:
        self.control.sendall(json.dumps(request).encode() + b"\n")

    def close(self) -> None:
        self.lines.close()
        self.control.close()


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Init]:
    made = Init(tmp_path)
    assert made.receive() == {"event": "up"}
    yield made
    made.close()
    assert made.process.wait(60) == 0


def test_a_service_has_its_environment_and_a_log(init: Init) -> None:
    init.start("echo $COLOUR $SIZE; echo oops >&2; exit 3", restart=False)

    assert init.receive()["pid"] > 0
    assert init.receive() == {"event": "ended", "service": "s", "code": 3, "exits": 1}
    *lines, end = (init.logs / "s.log").read_text().splitlines()
    stamp, _, text = end.partition(" ")
    assert (lines, text) == (["red 9", "oops"], "koalesce: s ended with code 3")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()) < 600


def test_a_service_that_ends_is_started_again(init: Init) -> None:
    init.start("exit 1", restart=True)
    init.receive()

    assert [init.receive()["exits"] for _ in range(4)] == [1, 2, 3, 4]


def test_a_program_that_is_not_there_is_told_in_the_log(init: Init) -> None:
    init.send({"op": "start", "name": "s", "argv": ["/does/not/exist"], "environment": {}, "restart": False})
    init.receive()

    assert init.receive()["code"] == 127
    assert "can't start /does/not/exist: [Errno 2]" in (init.logs / "s.log").read_text()


def test_a_held_service_is_not_started_again_until_it_is_released(init: Init) -> None:
    init.start("sleep 60", restart=True)
    first = init.receive()["pid"]

    init.send({"op": "hold", "name": "s"})
    assert init.receive() == {"answer": "hold", "pid": first}
    init.send({"op": "signal", "name": "s", "signal": 15})
    assert [init.receive().get("answer"), init.receive().get("event")] == ["signal", "ended"]
    init.send({"op": "services"})
    assert init.receive() == {"answer": "services", "services": {"s": 0}}

    init.send({"op": "release", "name": "s"})
    again = init.receive()["pid"]
    assert again not in (0, first)
    init.send({"op": "release", "name": "s"})  # it runs: nothing to do
    assert init.receive()["pid"] == again


def test_a_service_that_is_killed_is_started_again_at_once(init: Init) -> None:
    init.start("sleep 60", restart=True)
    before = init.receive()["pid"]
    for _ in range(3):
        init.send({"op": "signal", "name": "s", "signal": 9})
        assert init.receive() == {"answer": "signal", "pid": before}
        assert init.receive() == {"event": "ended", "service": "s", "code": -9, "exits": 1}
        now = 0
        while now == 0:
            init.send({"op": "services"})
            now = init.receive()["services"]["s"]
        assert now != before
        before = now


def test_a_service_that_there_is_not_is_an_error(init: Init) -> None:
    init.send({"op": "hold", "name": "ghost"})

    assert init.receive() == {"answer": "hold", "error": "KeyError: 'ghost'"}


def test_a_request_that_makes_no_sense_is_answered(init: Init) -> None:
    init.send({"op": "dance"})

    assert init.receive() == {"answer": "dance", "error": "ValueError: unknown request 'dance'"}


def test_it_ends_with_its_supervisor(tmp_path: Path) -> None:
    init = Init(tmp_path)
    init.receive()

    init.close()

    assert init.process.wait(60) == 0


def test_the_first_line_is_read_and_nothing_behind_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        long = json.dumps({"text": "x" * 100_000}).encode() + b"\n"
        ours.sendall(long)
        ours.sendall(b"next\n")

        assert _first_line(theirs) == long
        assert theirs.recv(100) == b"next\n"

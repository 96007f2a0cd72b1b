from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from koalesce.errors import ClusterError
from koalesce.kube import ApiError, ConnectionLost, ExecTimeout, Kube
from koalesce.kube.exec import Capture
from koalesce.kube.limits import Limits
from tests.unit.kube.api_server import ExecConnection, FakeApi, serve


def test_gives_code_and_streams(kube: Kube, api: FakeApi) -> None:
    def command(connection: ExecConnection) -> None:
        connection.send(1, b"out ")
        connection.send(2, b"err")
        connection.send(1, b"more")
        connection.finish(7)

    api.on_exec = command

    result = kube.exec("web", ["sh", "-c", "exit 7"], namespace="one", container="app")

    assert (result.command, result.code) == (("sh", "-c", "exit 7"), 7)
    assert (result.stdout, result.stderr, result.truncated) == (b"out more", b"err", False)
    _, path, query = api.requests[-1]
    assert path == "/api/v1/namespaces/one/pods/web/exec"
    assert query == {"command": "sh,-c,exit 7", "container": "app", "stdout": "true", "stderr": "true"}


def test_success_is_code_0(kube: Kube, api: FakeApi) -> None:
    api.on_exec = lambda connection: connection.finish()

    assert kube.exec("web", ["true"], namespace="one").code == 0


def test_a_connection_cut_in_the_middle_is_lost_and_no_code(kube: Kube, api: FakeApi) -> None:
    def command(connection: ExecConnection) -> None:
        connection.send(1, b"half")
        connection.cut()

    api.on_exec = command

    with pytest.raises(ConnectionLost, match=r"exec in one/web: sleep 1: the connection was lost") as caught:
        kube.exec("web", ["sleep", "1"], namespace="one")
    assert caught.value.stdout == b"half"


def test_a_close_without_a_status_is_lost_too(kube: Kube, api: FakeApi) -> None:
    api.on_exec = lambda connection: connection.frame(b"\x03\xe8", opcode=8)

    with pytest.raises(ConnectionLost):
        kube.exec("web", ["true"], namespace="one")


def test_a_character_split_over_frames_survives(kube: Kube, api: FakeApi) -> None:
    euro = "€".encode()

    def command(connection: ExecConnection) -> None:
        connection.send(1, euro[:1])
        connection.frame(b"\x01" + euro[1:2], final=False)  # one message in two fragments
        connection.frame(euro[2:], opcode=0)
        connection.finish()

    api.on_exec = command

    assert kube.exec("web", ["x"], namespace="one").out == "€"


def test_a_hundred_megabytes_stay_within_the_cap(kube: Kube, api: FakeApi) -> None:
    def command(connection: ExecConnection) -> None:
        connection.send(1, b"first")
        chunk = b"x" * 1_000_000
        for _ in range(100):
            connection.send(1, chunk)
        connection.send(1, b"last")
        connection.finish()

    api.on_exec = command

    result = kube.exec("web", ["yes"], namespace="one", cap=1000)

    assert result.truncated
    assert len(result.stdout) < 1000 + 64 * 1024 + 100
    assert result.stdout.startswith(b"firstx")
    assert result.stdout.endswith(b"xlast")
    assert b"bytes left out" in result.stdout


def test_feeds_standard_input_and_closes_it(kube: Kube, api: FakeApi) -> None:
    """The command echoes while it reads, so that one who writes everything first would hang."""

    def command(connection: ExecConnection) -> None:
        while (frame := connection.receive()) is not None and frame[0] == 0:
            connection.send(1, frame[1:])
        assert frame == b"\xff\x00"
        connection.finish()

    api.on_exec = command
    data = bytes(range(256)) * 2000

    result = kube.exec("web", ["cat"], namespace="one", stdin=data)

    assert result.stdout == data


def test_files_as_standard_input_and_output(kube: Kube, api: FakeApi, tmp_path: Path) -> None:
    def command(connection: ExecConnection) -> None:
        while (frame := connection.receive()) is not None and frame[0] == 0:
            connection.send(1, frame[1:])
        connection.finish()

    api.on_exec = command
    (tmp_path / "in").write_bytes(b"x" * 300_000)

    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        result = kube.exec("web", ["cat"], namespace="one", stdin=source, stdout=target, cap=10)

    assert (result.stdout, result.truncated) == (b"", False)
    assert (tmp_path / "out").read_bytes() == b"x" * 300_000


def test_an_empty_standard_input_is_closed_at_once(kube: Kube, api: FakeApi) -> None:
    def command(connection: ExecConnection) -> None:
        connection.send(1, repr(connection.receive()).encode())
        connection.finish()

    api.on_exec = command

    assert kube.exec("web", ["cat"], namespace="one", stdin=b"").out == r"b'\xff\x00'"


def test_a_server_that_can_t_close_standard_input_is_refused(kube: Kube, api: FakeApi) -> None:
    api.protocol = "v4.channel.k8s.io"  # type: ignore[attr-defined]  # read by the handler
    api.on_exec = lambda connection: connection.finish()

    assert kube.exec("web", ["true"], namespace="one").code == 0
    with pytest.raises(ClusterError, match="can't close a command's standard input"):
        kube.exec("web", ["cat"], namespace="one", stdin=b"x")


def test_a_silent_command_ends_at_the_deadline(kube: Kube, api: FakeApi) -> None:
    def command(connection: ExecConnection) -> None:
        connection.send(1, b"working")
        connection.receive()

    api.on_exec = command
    kube.version()
    began = time.monotonic()

    with pytest.raises(ExecTimeout, match="still running at its deadline") as caught:
        kube.exec("web", ["sleep", "inf"], namespace="one", timeout=0.2)

    assert (caught.value.stdout, caught.value.cancelled) == (b"working", False)
    assert time.monotonic() - began < 60


def test_a_command_can_be_cancelled(kube: Kube, api: FakeApi) -> None:
    cancel = threading.Event()

    def command(connection: ExecConnection) -> None:
        threading.Timer(0.2, cancel.set).start()
        connection.receive()

    api.on_exec = command

    with pytest.raises(ExecTimeout) as caught:
        kube.exec("web", ["sleep", "inf"], namespace="one", cancel=cancel)

    assert caught.value.cancelled


def test_a_pod_that_is_not_there_is_the_server_s_word(kube: Kube, api: FakeApi) -> None:
    status = {
        "kind": "Status",
        "code": 404,
        "reason": "NotFound",
        "message": 'pods "web" not found',
        "details": {"name": "web"},
    }
    api.failing["/exec"] = (404, status)

    with pytest.raises(ApiError) as caught:
        kube.exec("web", ["true"], namespace="one")

    assert (caught.value.status, caught.value.message) == (404, 'pods "web" not found')


def test_a_program_that_can_t_be_started_is_no_exit_code(kube: Kube, api: FakeApi) -> None:
    message = 'OCI runtime exec failed: exec failed: "nope": executable file not found in $PATH: unknown'
    status = {"kind": "Status", "status": "Failure", "reason": "InternalError", "message": message}
    api.on_exec = lambda connection: connection.send(3, json.dumps(status).encode())

    with pytest.raises(ApiError) as caught:
        kube.exec("web", ["nope"], namespace="one")

    assert (caught.value.status, caught.value.reason, caught.value.transient) == (500, "InternalError", False)


def test_an_end_that_is_no_status_is_no_success(kube: Kube, api: FakeApi) -> None:
    api.on_exec = lambda connection: connection.send(3, b"gibberish")

    with pytest.raises(ApiError, match="no Status object"):
        kube.exec("web", ["true"], namespace="one")


def test_a_server_that_is_not_there_is_transient(tmp_path: Path, connect: Callable[[Path, Limits], Kube]) -> None:
    with serve(FakeApi(), tmp_path) as kubeconfig:
        pass

    with pytest.raises(ApiError) as caught:
        connect(kubeconfig, Limits()).exec("web", ["true"], namespace="one")

    assert (caught.value.reason, caught.value.transient) == ("ConnectionRefused", True)


def test_other_calls_go_on_meanwhile(kube: Kube, api: FakeApi) -> None:
    go = threading.Event()

    def command(connection: ExecConnection) -> None:
        go.wait(60)
        connection.finish()

    api.on_exec = command
    codes: list[int] = []
    runner = threading.Thread(target=lambda: codes.append(kube.exec("web", ["x"], namespace="one").code))
    runner.start()
    answers: list[str] = []
    callers = [threading.Thread(target=lambda: answers.append(kube.version())) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    go.set()
    runner.join()

    assert (answers, codes) == (["1.37.2"] * 20, [0])


def test_works_over_tls(
    tmp_path: Path, api: FakeApi, certificate: tuple[Path, Path], connect: Callable[[Path, Limits], Kube]
) -> None:
    """Frames that share a TLS record with the one before are not left lying until something else comes."""

    def command(connection: ExecConnection) -> None:
        connection.is_holding = True
        for number in range(50):
            connection.send(1, b"%02d" % number)
        connection.is_holding = False
        connection.finish(3)
        connection.receive()

    api.on_exec = command
    with serve(api, tmp_path, certificate=certificate) as kubeconfig:
        result = connect(kubeconfig, Limits()).exec("web", ["x"], namespace="one", timeout=60)

    assert (result.code, result.out) == (3, "".join(f"{number:02d}" for number in range(50)))
    assert result.seconds < 60  # it was not the deadline that woke the reader


def test_a_capture_within_its_cap_and_tail_is_whole() -> None:
    capture = Capture(4)
    for _ in range(3):
        capture.feed(b"abc")

    assert (capture.content(), capture.is_cut) == (b"abcabcabc", False)


def test_a_capture_counts_what_it_leaves_out() -> None:
    capture = Capture(2)
    capture.feed(b"ab" + b"-" * 100_000 + b"z" * 65536)

    assert capture.is_cut
    assert capture.content() == b"ab\n[100000 bytes left out]\n" + b"z" * 65536


def test_what_comes_out_of_a_pipe_is_handed_on_at_once_both_ways(kube: Kube, api: FakeApi) -> None:
    """A conversation: each side waits for what the other one says."""
    said: list[bytes] = []

    def command(connection: ExecConnection) -> None:
        for _ in range(2):
            said.append((connection.receive() or b"")[1:])
            connection.send(1, b"got " + said[-1])
        said.append(connection.receive() or b"")
        connection.send(2, b"bye\n")
        connection.finish(3)

    api.on_exec = command
    theirs, ours = os.pipe()
    heard, out = os.pipe()
    errors, err = os.pipe()
    done: list[int] = []

    def run() -> None:
        with (
            os.fdopen(theirs, "rb") as stdin,
            os.fdopen(out, "wb", buffering=0) as stdout,
            os.fdopen(err, "wb", buffering=0) as stderr,
        ):
            done.append(
                kube.exec("web", ["sh"], namespace="one", stdin=stdin, stdout=stdout, stderr=stderr, timeout=60).code
            )

    thread = threading.Thread(target=run)
    thread.start()
    with (
        os.fdopen(ours, "wb", buffering=0) as stdin,
        os.fdopen(heard, "rb") as stdout,
        os.fdopen(errors, "rb") as stderr,
    ):
        stdin.write(b"one\n")
        assert stdout.readline() == b"got one\n"
        stdin.write(b"two\n")
        assert stdout.readline() == b"got two\n"
        stdin.close()
        assert stderr.read() == b"bye\n"
        thread.join(60)

    assert said == [b"one\n", b"two\n", b"\xff\x00"]
    assert done == [3]


def test_a_terminal_is_as_large_as_ours_and_follows_it(kube: Kube, api: FakeApi) -> None:
    sizes: list[bytes | None] = []

    def command(connection: ExecConnection) -> None:
        sizes.append(connection.receive())
        sizes.append(connection.receive())
        connection.finish()

    api.on_exec = command
    told = iter([(80, 24), (80, 24), (132, 50)])
    last = (132, 50)

    kube.exec("web", ["sh"], namespace="one", size=lambda: next(told, last), timeout=60)

    assert sizes == [b'\x04{"Width": 80, "Height": 24}', b'\x04{"Width": 132, "Height": 50}']
    assert api.requests[-1][2] == {"command": "sh", "stdout": "true", "tty": "true"}

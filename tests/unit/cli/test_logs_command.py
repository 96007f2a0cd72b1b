"""`koalesce logs`: which logs, in which order, how much of them, and what is told of those that can't be read."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from koalesce.cli import exit_codes
from koalesce.cli.main import main
from koalesce.local.ledger import Entry, Ledger

NOW = datetime.now(UTC)


def klog(ago: float, text: str) -> str:
    """A line as kubelets write it, so many seconds old."""
    return f"I{NOW - timedelta(seconds=ago):%m%d %H:%M:%S.%f}       1 x.go:1] {text}\n"


def etcd(ago: float, text: str) -> str:
    """A line as etcd writes it."""
    return (
        json.dumps({"level": "info", "ts": f"{NOW - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%S.%fZ}", "msg": text}) + "\n"
    )


def logfmt(ago: float, text: str) -> str:
    """A line as containerd writes it."""
    return f'time="{NOW - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%S.%f}123Z" level=info msg={text}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the logs of the cluster `dev` lie: nodes `one` (kubelet, etcd) and `two` (kubelet, containerd)."""
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "UTC")
    kept = {"one": ("kubelet", "etcd"), "two": ("kubelet", "containerd")}
    nodes = [
        {
            "name": node, "role": "worker", "address": "198.18.0.9", "pod_cidr": "", "exec": ["env"],
            "logs": {name: ["cat", str(tmp_path / f"{node}-{name}.log")] for name in names},
        }
        for node, names in kept.items()
    ]  # fmt: skip
    (tmp_path / "outputs.json").write_text(json.dumps({"nodes": nodes, "fixtures": []}))
    for node, names in kept.items():
        for name in names:
            (tmp_path / f"{node}-{name}.log").touch()
    Ledger().begin(Entry(name="dev", folder=str(tmp_path), keep=True))
    return tmp_path


def write(folder: Path, log: str, *lines: str) -> None:
    with (folder / f"{log}.log").open("a") as file:
        file.write("".join(lines))


def change_nodes(folder: Path, change: Callable[[list[dict[str, object]]], None]) -> None:
    outputs = json.loads((folder / "outputs.json").read_text())
    change(outputs["nodes"])
    (folder / "outputs.json").write_text(json.dumps(outputs))


def test_lines_of_all_logs_stand_in_the_order_of_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "one-kubelet", klog(50, "a <"), "\tmore: a\n", " >\n", klog(20, "d"))
    write(folder, "one-etcd", etcd(40, "b"))
    write(folder, "two-containerd", logfmt(30, "c"))
    write(folder, "two-kubelet", "no time yet\n", klog(10, "e"))

    assert main(["logs", "dev"]) == exit_codes.PASSED

    heads_and_ends = [
        (line.partition(" | ")[0].rstrip(), line[-8:].split()[-1]) for line in capsys.readouterr().out.splitlines()
    ]
    assert heads_and_ends == [
        ("one kubelet", "<"),
        ("one kubelet", "a"),
        ("one kubelet", ">"),
        ("one etcd", '"b"}'),
        ("two containerd", "msg=c"),
        ("one kubelet", "d"),
        ("two kubelet", "yet"),
        ("two kubelet", "e"),
    ]


def test_a_line_that_is_out_of_order_in_its_own_log_stays_where_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "one-kubelet", klog(20, "first"), klog(21, "second"))
    write(folder, "two-kubelet", klog(20.5, "other"))

    main(["logs", "dev", "all", "kubelet"])

    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["other", "first", "second"]


def test_a_single_log_is_as_it_was_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "one-etcd", etcd(9, "b"), "cut off")

    assert main(["logs", "dev", "one", "etcd"]) == exit_codes.PASSED
    assert capsys.readouterr().out == etcd(9, "b") + "cut off\n"


def test_foreign_text_is_harmless(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "one-etcd", "\x1b]0;title\x07\x1b[31mred\x1b[0m\r\n", "::error::x\n", "a\u009b2Jb\n")

    main(["logs", "dev", "one", "etcd"])

    assert capsys.readouterr().out.splitlines() == ["red", "| ::error::x", "ab"]


def test_since_and_tail_leave_out_what_is_older(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "one-kubelet", klog(200_000, "old"), "\tof old\n", *(klog(10, str(number)) for number in range(5)))
    write(folder, "two-kubelet", klog(200_000, "old"))

    main(["logs", "dev", "all", "kubelet", "--since", "24h", "--tail", "2"])

    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["3", "4"]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["dve"], 'no cluster is called "dve"', "up are: dev"),
        (["dev", "onn"], 'dev has no node "onn"; did you mean "one"?', "there are: one, two"),
        (["dev", "kubelet"], 'dev has no node "kubelet"', "koalesce logs dev all kubelet"),
        (["dev", "one", "kublet"], 'one of dev has no log of "kublet"; did you mean "kubelet"?', "there are: etcd, kubelet"),
        (["dev", "all", "dns"], 'dev has no log of "dns"', "there are: containerd, etcd, kubelet"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_with_what_is(
    words: list[str], message: str, hint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", *words]) == exit_codes.USAGE
    assert message in (said := capsys.readouterr().err)
    assert hint in said


def test_a_log_that_cannot_be_read_is_an_error_and_does_not_hide_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "one-kubelet", klog(1, "here"))
    (folder / "two-kubelet.log").unlink()

    assert main(["logs", "dev", "all", "kubelet"]) == exit_codes.ERROR

    out, err = capsys.readouterr()
    assert out.endswith("here\n")
    assert err.startswith("warning: kubelet on two: cat: ")


def test_a_node_that_has_ended_is_told_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "one-kubelet", klog(1, "here"))
    change_nodes(folder, lambda nodes: nodes[1].update(exec=["sh", "-c", "echo it has ended >&2; exit 1"]))

    assert main(["logs", "dev"]) == exit_codes.ERROR

    out, err = capsys.readouterr()
    assert out.endswith("here\n")
    assert err == "warning: two can't be asked: it has ended\n"


def test_what_no_file_holds_cannot_be_followed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_nodes(folder, lambda nodes: nodes[0].update(logs={"kubelet": ["journalctl", "-u", "kubelet"]}))

    assert main(["logs", "dev", "one", "kubelet", "--follow"]) == exit_codes.USAGE
    assert "kubelet on one is printed by journalctl, which can't be followed" in capsys.readouterr().err


class Following:
    """The command in a process of its own, whose lines are read here."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-u", "-m", "koalesce", "logs", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def line(self) -> str:
        """The next line, at most half a minute from now."""
        assert self.process.stdout is not None
        timer = threading.Timer(30, self.process.kill)
        timer.start()
        try:
            return self.process.stdout.readline().rstrip("\n")
        finally:
            timer.cancel()


@pytest.fixture
def following(folder: Path) -> Iterator[Callable[..., Following]]:
    made: list[Following] = []

    def follow(*words: str) -> Following:
        made.append(Following(*words))
        return made[-1]

    yield follow
    for each in made:
        each.process.kill()
        each.process.communicate()


def followers(folder: Path) -> list[str]:
    """The processes that follow files of this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"tail" and any(str(folder).encode() in word for word in words):
            found.append(str(path))
    return found


def test_following_goes_on_where_the_log_was_and_ends_on_demand(
    folder: Path, following: Callable[..., Following]
) -> None:
    write(folder, "one-kubelet", klog(9, "a"), klog(8, "unfinished")[:-1])
    write(folder, "two-kubelet", klog(8.5, "b"))

    command = following("dev", "all", "kubelet", "--follow")
    assert command.line().endswith("a")
    assert command.line().endswith("b")
    write(folder, "one-kubelet", ", finished\n")
    assert command.line().endswith("unfinished, finished")
    write(folder, "two-kubelet", klog(1, "c"))
    assert command.line() == f"two kubelet | {klog(1, 'c')}".rstrip("\n")
    command.process.terminate()

    assert command.process.wait(60) == exit_codes.INTERRUPTED
    assert followers(folder) == []


def test_what_a_command_follows_goes_on_behind_the_lines_that_were_there(
    folder: Path, following: Callable[..., Following]
) -> None:
    path = folder / "one-kubelet.log"
    logs, follows = ["sh", "-c", f"cat {path}"], ["sh", "-c", f"tail -n +$(($1 + 1)) -F {path} | cat", "sh"]
    change_nodes(folder, lambda nodes: nodes[0].update(logs={"kubelet": logs}, follows={"kubelet": follows}))
    write(folder, "one-kubelet", klog(9, "a"), klog(8, "b"), klog(7, "unfinished")[:-1])

    command = following("dev", "one", "kubelet", "--follow", "--tail", "1")
    assert command.line().endswith("b")
    write(folder, "one-kubelet", ", finished\n")

    assert command.line().endswith("unfinished, finished")
    command.process.terminate()
    assert command.process.wait(60) == exit_codes.INTERRUPTED
    assert followers(folder) == []


def test_following_ends_when_nobody_reads_any_more(folder: Path, following: Callable[..., Following]) -> None:
    write(folder, "one-kubelet", klog(9, "a"))
    command = following("dev", "one", "kubelet", "-f")
    assert command.line().endswith("a")

    assert command.process.stdout is not None
    command.process.stdout.close()

    assert command.process.wait(60) == exit_codes.CLOSED_PIPE
    assert followers(folder) == []


def test_a_log_that_begins_later_is_followed_too(folder: Path, following: Callable[..., Following]) -> None:
    (folder / "one-kubelet.log").unlink()
    command = following("dev", "one", "kubelet", "-f")
    deadline = time.monotonic() + 60
    while not followers(folder) and time.monotonic() < deadline:
        time.sleep(0.02)

    write(folder, "one-kubelet", klog(1, "begun"))

    assert command.line().endswith("begun")


def test_following_ends_with_an_error_where_all_nodes_have_ended(
    folder: Path, following: Callable[..., Following]
) -> None:
    gone = '[ "$1" = tail ] && { echo it has ended >&2; exit 1; }; exec "$@"'
    change_nodes(folder, lambda nodes: [node.update(exec=["sh", "-c", gone, "sh"]) for node in nodes] and None)

    command = following("dev", "one", "kubelet", "-f")

    assert command.process.wait(60) == exit_codes.ERROR
    assert command.process.stderr is not None
    assert command.process.stderr.read() == "warning: kubelet on one can't be followed any more: it has ended\n"


def test_colors_are_for_terminals(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "one-kubelet", klog(2, "a"))
    write(folder, "two-kubelet", klog(1, "b"))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)

    main(["logs", "dev", "all", "kubelet"])

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("\x1b[36mone kubelet |\x1b[0m I")
    assert second.startswith("\x1b[33mtwo kubelet |\x1b[0m I")


def test_fixtures_on_which_something_runs_have_logs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = json.loads((folder / "outputs.json").read_text())
    basis = {"kind": "host", "address": "198.18.1.10", "exec": ["env"]}
    logs = {"etcd": ["cat", str(folder / "one-etcd.log")]}
    outputs["fixtures"] = [{"name": "c1", **basis}, {"name": "e1", **basis, "logs": logs}]
    (folder / "outputs.json").write_text(json.dumps(outputs))
    write(folder, "one-etcd", etcd(1, "hello"))

    assert main(["logs", "dev", "e1", "etcd"]) == exit_codes.PASSED
    assert "hello" in capsys.readouterr().out
    assert main(["logs", "dev", "c1"]) == exit_codes.USAGE
    assert "there are: one, two, e1" in capsys.readouterr().err


def test_a_control_plane_without_nodes_has_logs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = json.loads((folder / "outputs.json").read_text())
    machines = [node for node in outputs["nodes"] if node["name"] == "one"]
    (folder / "outputs.json").write_text(json.dumps({"nodes": [], "fixtures": [], "control_machines": machines}))
    (folder / "one-etcd.log").write_text(etcd(1, "hello"))

    assert main(["logs", "dev", "one", "etcd"]) == exit_codes.PASSED
    assert "hello" in capsys.readouterr().out

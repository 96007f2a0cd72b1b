"""Commands: what they leave, and that they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from koalesce import process

RUNNER = """
import sys
from koalesce import process
process.run(["sh", "-c", "echo $$ >&2; sleep 600 & sleep 600"], on_line=lambda _, line: print(line, flush=True), dies_with_us=True)
"""


def test_a_command_leaves_its_code_and_output() -> None:
    result = process.run(["sh", "-c", "cat; echo b >&2; exit 3"], stdin=b"a", dies_with_us=True)

    assert (result.code, result.out, result.err) == (3, "a", "b\n")


def test_a_guarded_command_that_is_cancelled_ends() -> None:
    cancel = threading.Event()
    cancel.set()

    with pytest.raises(process.CommandTimeout) as caught:
        process.run(["sleep", "600"], cancel=cancel, dies_with_us=True)

    assert caught.value.cancelled


def test_what_a_command_says_when_it_is_ended_is_kept(tmp_path: Path) -> None:
    class Begun:
        def is_set(self) -> bool:
            return (tmp_path / "begun").exists()

    script = "trap 'echo last; exit' TERM; echo first; touch begun; while :; do sleep 0.02; done"
    with pytest.raises(process.CommandTimeout) as caught:
        process.run(["sh", "-c", script], cwd=tmp_path, cancel=Begun())

    assert caught.value.stdout == b"first\nlast\n"


def test_a_guarded_command_and_its_children_die_with_us() -> None:
    with subprocess.Popen([sys.executable, "-c", RUNNER], stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        group = int(runner.stdout.readline())
        assert members(group)

        runner.send_signal(signal.SIGKILL)
        runner.wait()

    for _ in range(1000):
        if not members(group):
            return
        threading.Event().wait(0.01)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("the command outlived its runner")


def members(group: int) -> list[int]:
    """The processes of a group, as /proc lists them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def test_files_as_standard_input_and_output(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * (process.DEFAULT_CAP + 1))

    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        result = process.run(["sh", "-c", "cat; echo done >&2"], stdin=source, stdout=target, timeout=30)

    assert (result.stdout, result.err, result.truncated) == (b"", "done\n", False)
    assert (tmp_path / "out").stat().st_size == process.DEFAULT_CAP + 1

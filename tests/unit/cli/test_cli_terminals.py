"""Commands attached to our own streams, with and without a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios

import pytest

RUN = "import sys; from koalesce.cli.terminals import run_attached; sys.exit(run_attached(['env'], sys.argv[1:]))"


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)])
def test_the_exit_code_is_the_commands(script: str, code: int) -> None:
    assert subprocess.run([sys.executable, "-c", RUN, "sh", "-c", script]).returncode == code


def test_without_a_terminal_streams_are_passed_on_unchanged() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "sh", "-c", "cat; echo oops >&2"], input=b"a\x00b\n", capture_output=True
    )

    assert (done.stdout, done.stderr) == (b"a\x00b\n", b"oops\n")


def test_with_a_terminal_the_command_gets_one_of_its_own_with_job_control() -> None:
    """As a shell wants it: its own session's terminal, of our size, that passes on what is typed."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (33, 77))
    before = termios.tcgetattr(theirs)
    script = (
        "stty size; read word; echo got $word; ps -o tpgid= -p $$ | tr -d ' ' | sed \"s/^$$\\$/foreground/\"; exit 5"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "sh", "-c", script], stdin=theirs, stdout=theirs, stderr=theirs
    )
    try:
        printed = _read_until(ours, b"33 77")
        os.write(ours, b"hello\n")
        code = process.wait(60)
    finally:
        process.kill()
        process.wait()
    after = termios.tcgetattr(theirs)
    os.close(theirs)
    printed += _read_all(ours)

    assert code == 5
    assert after == before
    assert b"got hello" in printed
    assert b"foreground" in printed


def _read_until(descriptor: int, mark: bytes) -> bytes:
    data = b""
    while mark not in data and select.select([descriptor], [], [], 30)[0]:
        data += os.read(descriptor, 4096)
    assert mark in data
    return data


def _read_all(descriptor: int) -> bytes:
    data = b""
    try:
        while piece := os.read(descriptor, 4096):
            data += piece
    except OSError:  # Linux says EIO once the other side is closed
        pass
    finally:
        os.close(descriptor)
    return data

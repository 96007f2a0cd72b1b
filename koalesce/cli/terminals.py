"""Runs a command on a node as if the user sat there: with a terminal if there is one, else with plain streams."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from types import FrameType

# A shell needs a terminal that belongs to its session. The session can only be made on the node itself: in a process-id
# namespace of its own, a shell can't see ours, and would refuse job control.
IN_OWN_SESSION = ("setsid", "--ctty", "--wait")


def run_attached(prefix: Sequence[str], command: Sequence[str]) -> int:
    """Run a command by a node's argv prefix, attached to our own streams; its exit code, 128 + signal if one ended it."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return _code(_run_on_terminal([*prefix, *IN_OWN_SESSION, *command]))
    with _left_to_the_child(signal.SIGINT):
        return _code(subprocess.call([*prefix, *command]))


def _run_on_terminal(argv: list[str]) -> int:
    """Give the command a terminal of its own, and be the wire between it and ours."""
    ours, theirs = pty.openpty()
    _copy_size(theirs)
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)

    def on_resize(number: int, frame: FrameType | None) -> None:
        _copy_size(ours)

    before = signal.signal(signal.SIGWINCH, on_resize)
    try:
        with _raw(sys.stdin.fileno()):
            _relay(ours)
        return process.wait()
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(ours)


def _relay(terminal: int) -> None:
    """Copy both ways until the command's side closes."""
    source, target = sys.stdin.fileno(), sys.stdout.fileno()
    watched = [terminal, source]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if source in readable:
            if data := os.read(source, 65536):
                _write(terminal, data)
            else:
                watched.remove(source)
        if terminal in readable:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # Linux says EIO once nobody has the other side open
                return
            if not data:
                return
            _write(target, data)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _copy_size(terminal: int) -> None:
    """Make a terminal as large as ours."""
    with contextlib.suppress(termios.error):
        termios.tcsetwinsize(terminal, termios.tcgetwinsize(sys.stdin.fileno()))


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead is for the command
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _left_to_the_child(number: signal.Signals) -> Iterator[None]:
    """Whoever presses ^C means the command; it also gets the signal, and we wait for how it ends."""
    before = signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(number, before)


def _code(code: int) -> int:
    return 128 - code if code < 0 else code

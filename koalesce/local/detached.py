"""Processes that a cluster lives and dies with: started in a session of their own, and heard of by a pipe until the cluster is up.

Such a process gets what it needs as JSON on standard input, and the descriptor of the pipe as its argument. It writes lines of JSON there:
{"line": …}, at last {"ready": true} or {"error": …, "hint": …}.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import koalesce
from koalesce.errors import ProvisionError
from koalesce.marked import unmarked
from koalesce.records import dataclass

_log = logging.getLogger(__name__)


def start(module: str, handed: str, log: Path, progress: Callable[[str], None]) -> None:
    """Start the process that a module is, and return when it says that the cluster is up; ProvisionError is what else it says."""
    reader, writer = os.pipe()
    _spawn(module, writer, handed, log)
    os.close(writer)
    _follow(reader, progress, log)


@dataclass(slots=True)
class Status:
    """The way to whoever started us; `gone` is called when nobody listens any more."""

    descriptor: int
    gone: Callable[[], None] = lambda: None
    _open: bool = True
    _said_last: bool = False

    def tell(self, **message: Any) -> None:
        """Say something; where nobody hears it, that's noticed."""
        if self._open:
            try:
                os.write(self.descriptor, json.dumps(message).encode() + b"\n")
            except OSError:
                self.close()
                self.gone()

    def watch(self) -> None:
        """From now on, notice at once when nobody listens any more: a pipe without a reader is in error (poll(2))."""
        threading.Thread(target=self._wait_for_end, args=(os.dup(self.descriptor),), name="status", daemon=True).start()

    def _wait_for_end(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLERR)
        poll.poll()
        os.close(descriptor)
        if self._open and not self._said_last:
            self.gone()

    def line(self, text: str) -> None:
        """Tell of progress."""
        _log.info("%s", text)
        self.tell(line=text)

    def tell_last(self, **message: Any) -> None:
        """Say the last thing there is to say: whoever hears it may go."""
        self._said_last = True
        self.tell(**message)
        self.close()

    def close(self) -> None:
        """Say nothing any more."""
        if self._open:
            self._open = False
            os.close(self.descriptor)


def _spawn(module: str, status: int, handed: str, log_file: Path) -> None:
    """Start it in a session of its own, with no descriptor of ours but the status pipe."""
    log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = Path(koalesce.__file__).resolve().parent.parent
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(status)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[status],
            start_new_session=True,
            cwd="/",
            env={**unmarked(os.environ), "PYTHONPATH": str(root)},  # Terraform's end isn't its own
        )
    assert process.stdin is not None  # noqa: S101 - PIPE was asked for
    try:
        process.stdin.write(handed.encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended at once; what it said is read next
    process.wait()  # it goes on in a child of its own, which is nobody's


def _follow(status: int, progress: Callable[[str], None], log: Path) -> None:
    with os.fdopen(status) as lines:
        for line in lines:
            message = json.loads(line)
            if message.get("ready"):
                return
            if text := message.get("line"):
                progress(text)
            elif "error" in message:
                raise ProvisionError(message["error"], hint=message.get("hint"))
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    raise ProvisionError(f"the cluster's supervisor ended without a word\n{tail}".rstrip())

"""Runs Terraform: streamed, in a session of its own, and ended the way that loses nothing.

Terraform that is interrupted once stops in order and keeps its state; interrupted twice it stops at once; killed it forgets
the resource that it was making. So a cancelled command gets one SIGINT, a second only after a long grace, and SIGKILL only
when that did not help either. What its provisioners leave running in its session is ended after it.

What it prints goes to files without a name, not to pipes: should we be killed, the next line that it prints to a pipe without a
reader would end it in the middle of making something; so it comes to its end, and its state knows what there is. Should it be killed as
well, its plugins and what its provisioners started would go on: all of them bear a mark, and `end_left` ends them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from koalesce import marked
from koalesce.assets import state_dir
from koalesce.process import Cancel, CommandMissing

_log = logging.getLogger(__name__)
_POLL = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """How long a cancelled command may take, in seconds: before the second SIGINT, before SIGKILL, and its left-overs."""

    second_interrupt: float = 60.0
    kill: float = 120.0
    leftovers: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), and whether we interrupted it."""

    code: int
    interrupted: bool


def stream(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str, str], None],
    cancel: Cancel | None = None,
    grace: Grace | None = None,
) -> Ended:
    """Run a command to its end; `on_line` gets ("stdout" | "stderr", line) as they come. CommandMissing if it can't start."""
    _log.debug("run in %s: %s", folder, shlex.join(command))
    with (
        tempfile.TemporaryFile(dir=folder) as out,
        tempfile.TemporaryFile(dir=folder) as err,
        contextlib.closing(_note(folder)) as note,
    ):
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=note.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            note.over()
            raise CommandMissing(f"can't run {command[0]}: {error.strerror}") from error
        readers = [_Lines("stdout", out.fileno(), on_line), _Lines("stderr", err.fileno(), on_line)]
        interruption = _Interruption(process, cancel, grace or Grace())
        with process:
            try:
                note.first(process.pid)
                _follow(process, readers, interruption)
            except BaseException:
                interruption.insist()
                note.over()
                raise
            note.over()
    return Ended(code=process.returncode, interrupted=interruption.begun)


def end_left(*, patience: float = 0.0) -> list[int]:
    """End what runs on of commands that were killed together with whoever ran them; returns the pids. Those that still run stay, after so many seconds."""
    return marked.end_left(_notes(), patience=patience)


def _note(folder: Path) -> marked.Note:
    try:
        return marked.Note(_notes())
    except OSError:  # who can't write there has no clusters either, and still may plan one
        return marked.Note(folder)


def _notes() -> Path:
    return state_dir() / "terraform-runs"


class _Interruption:
    """Signals a cancelled process: once, then once more, then SIGKILL, each after its grace."""

    def __init__(self, process: subprocess.Popen[bytes], cancel: Cancel | None, grace: Grace) -> None:
        self._process = process
        self._cancel = cancel
        self._grace = grace
        self._since: float | None = None
        self._steps: list[tuple[float, signal.Signals]] = [
            (0.0, signal.SIGINT),
            (grace.second_interrupt, signal.SIGINT),
            (grace.second_interrupt + grace.kill, signal.SIGKILL),
        ]

    @property
    def begun(self) -> bool:
        """Whether a signal was sent."""
        return self._since is not None

    @property
    def leftovers(self) -> float:
        """Seconds that left-over processes get to end by themselves."""
        return self._grace.leftovers

    def look(self) -> None:
        """Send what is due."""
        if self._since is None and self._cancel is not None and self._cancel.is_set():
            self._since = time.monotonic()
        while self._since is not None and self._steps and time.monotonic() >= self._since + self._steps[0][0]:
            self._process.send_signal(self._steps.pop(0)[1])

    def insist(self) -> None:
        """End the process from an exception handler: as if it were cancelled now."""
        self._since = self._since if self._since is not None else time.monotonic()
        while not _has_ended(self._process):
            self.look()
            time.sleep(_POLL)
        end_session(self._process.pid, self.leftovers)


def _follow(process: subprocess.Popen[bytes], readers: Sequence[_Lines], interruption: _Interruption) -> None:
    """Hand on lines until the process has ended; then end what it left."""
    end = os.pidfd_open(process.pid)
    try:
        while not select.select([end], [], [], _POLL)[0]:
            interruption.look()
            for reader in readers:
                reader.read()
    finally:
        os.close(end)
    # Not reaped yet: its pid, and so its session's number, can't have been given to another process.
    end_session(process.pid, interruption.leftovers)
    for reader in readers:
        reader.close()


class _Lines:
    """Reads a file that grows, in lines; the writer's place in it, which the descriptor shares, stays where it is."""

    def __init__(self, name: str, descriptor: int, on_line: Callable[[str, str], None]) -> None:
        self._name = name
        self._descriptor = descriptor
        self._on_line = on_line
        self._offset = 0
        self._partial = b""

    def read(self) -> None:
        """Hand on the lines that have come."""
        while data := os.pread(self._descriptor, 65536, self._offset):
            self._offset += len(data)
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                self._on_line(self._name, line.decode("utf-8", "replace"))

    def close(self) -> None:
        """Hand on what is left, also a line without an end."""
        self.read()
        if self._partial:
            self._on_line(self._name, self._partial.decode("utf-8", "replace"))


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ended, without reaping it."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end_session(session: int, grace: float) -> None:
    """End every process of a session but its leader: SIGTERM, and after the grace in seconds SIGKILL."""
    for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, grace)):
        members = session_members(session)
        for pid in members:
            _log.debug("ending process %d, left by Terraform", pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        deadline = time.monotonic() + wait
        while members and time.monotonic() < deadline:
            time.sleep(_POLL / 5)
            members = session_members(session)
        if not members:
            return


def session_members(session: int) -> list[int]:
    """Living processes of a session other than its leader; empty where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        try:
            state, _parent, _group, sid = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(sid) == session and pid != session and state not in "ZX":
            found.append(pid)
    return found

"""Processes that bear a mark in their environment, as do those that they start: what outlives whoever started them is found by it, and ended.

A note is a file in a folder: its name is the mark, a lock (flock(2)) says that whoever wrote it lives, its text which process is the
first. It is written before that process starts, and removed when all with its mark have ended. Processes are never told by their names.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

VARIABLE = "KOALESCE_MARK"
_PROC = Path("/proc")
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_POLL = 0.02
_RACES = 10  # how often the folder that all share may go while a note is made
_GRACE = 2.0  # seconds between SIGTERM and SIGKILL, and after that

_log = logging.getLogger(__name__)


class Note:
    """Of a process that is about to start; held until `over`, or until this process ends."""

    def __init__(self, folder: Path) -> None:
        self.mark = secrets.token_hex(16)
        self._path = folder / self.mark
        draft = folder / f".{self.mark}"  # nobody looks at it before it is locked
        self._descriptor = _created(draft)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        draft.rename(self._path)

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """An environment, with the mark."""
        return {**own, VARIABLE: self.mark}

    def first(self, pid: int) -> None:
        """Note which process the first is: as long as it lives, it and its own are at work."""
        os.pwrite(self._descriptor, f"{pid} {_start(pid)}\n".encode(), 0)

    def over(self) -> None:
        """Forget it: all that it is about has ended. A second call does nothing."""
        if self._descriptor >= 0:
            _forget(self._path)
            self.close()

    def close(self) -> None:
        """Leave the note to whoever looks next."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def unmarked(own: Mapping[str, str]) -> dict[str, str]:
    """An environment without the mark, for what is to outlive whoever starts it."""
    return {name: value for name, value in own.items() if name != VARIABLE}


def end_left(folder: Path, *, grace: float = _GRACE, patience: float = 0.0) -> list[int]:
    """End what is left of dead processes: all that bear their marks; returns their pids.

    Those of which the first still is at work stay, once they had so much time (seconds) to end.
    """
    ended: list[int] = []
    deadline = time.monotonic() + patience
    while True:
        found = [_end_of(path, grace) for path in sorted(folder.glob("[0-9a-f]*"))]
        ended += [pid for each in found for pid in each or ()]
        if None not in found or time.monotonic() >= deadline:
            return ended
        time.sleep(_POLL)


def _created(path: Path) -> int:
    """A new file, open; whoever forgets the last note meanwhile takes its folder along."""
    for _ in range(_RACES):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, _NEW, 0o600)
    return os.open(path, _NEW, 0o600)


def _forget(path: Path) -> None:
    """Remove a note, and the folder with the last one."""
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there are others
        path.parent.rmdir()


def _end_of(path: Path, grace: float) -> list[int] | None:
    """The pids of what has ended; None where the first of a dead process is at work."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it has just been removed, or is another user's
        return []
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at_work(os.pread(descriptor, 100, 0).decode("ascii", "replace"), path.name):
            return None
        ended = _end(path.name, grace)
        if not any(_bearing(path.name)):
            _forget(path)
    except BlockingIOError:
        return []
    finally:
        os.close(descriptor)
    return ended


def _is_at_work(text: str, mark: str) -> bool:
    """Whether the first process lives; where nobody came to note which it is, it's one that leads a session."""
    with contextlib.suppress(ValueError):
        pid, start = (int(word) for word in text.split())
        return bool(start) and _start(pid) == start
    return any(os.getsid(pid) == pid for pid in _bearing(mark))


def _end(mark: str, grace: float) -> list[int]:
    """End every process with a mark: SIGTERM, and after the grace SIGKILL."""
    ended: dict[int, None] = {}
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + grace
        told: set[int] = set()
        while (found := set(_bearing(mark))) and time.monotonic() < deadline:
            for pid in found - told:
                _log.debug("ending process %d, left by one that is dead", pid)
                _tell(pid, mark, number)
            told |= found
            ended.update(dict.fromkeys(found))
            time.sleep(_POLL)
    return sorted(ended)


def _tell(pid: int, mark: str, number: signal.Signals) -> None:
    """Send a signal to a process that bears the mark, and to none that has got its pid since."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(pid)
        try:
            if _bears(pid, mark):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _bearing(mark: str) -> Iterator[int]:
    """The living processes with a mark, but for this one; none where there is no /proc."""
    for entry in _PROC.glob("[0-9]*"):
        pid = int(entry.name)
        if pid != os.getpid() and _bears(pid, mark):
            yield pid


def _bears(pid: int, mark: str) -> bool:
    """Whether a process lives and was started with the mark (a zombie has no environment any more)."""
    try:
        return f"{VARIABLE}={mark}".encode() in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _start(pid: int) -> int:
    """When a living process began, in clock ticks since boot (proc_pid_stat(5)); 0 for none."""
    try:
        words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if words[0] in "ZX" else int(words[19])

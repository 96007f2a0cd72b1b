"""Undoes what the ledger says of a cluster, whoever is left to do it, and checks by an independent listing that it is gone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from koalesce.errors import KoalesceError, TeardownError
from koalesce.local import cgroups, netns, syscalls
from koalesce.local.ledger import Entry, Ledger, Process, ThingKind
from koalesce.local.sysctls import SharedSettings

# A folder without this file in it was not made for a cluster, whatever the ledger says: it is not removed.
MARKER = ".koalesce-cluster"
_PATIENCE = 20.0
_CGROUP_PATIENCE = 5.0


def down(ledger: Ledger, name: str) -> None:
    """Remove a cluster, living or dead; without one all is well. TeardownError says what could not be removed."""
    entry = ledger.find(name)
    if entry is not None and entry.supervisor is not None:
        end(entry.supervisor)
    if (entry := ledger.find(name)) is not None:
        undo(ledger, entry)
    ledger.log(name).unlink(missing_ok=True)
    if ledger.lock(name).exists() and (hold := ledger.try_hold(name)):
        hold.release()  # the file of a dead runner's lock goes with it


def end(process: Process, *, seconds: float = _PATIENCE) -> None:
    """Ask a process to end, and end it when it doesn't in time."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
        if not process.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(process.pid)
            try:
                if process.is_alive:
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
        deadline = time.monotonic() + patience
        while process.is_alive and time.monotonic() < deadline:
            time.sleep(0.01)


def undo(ledger: Ledger, entry: Entry) -> None:
    """Remove all that a cluster without a supervisor has left, then its entry. Called by the supervisor too, at its end."""
    groups = _paths(entry, "cgroup")
    cgroups.kill(groups)
    left = [str(path) for path in cgroups.remove(groups, seconds=_CGROUP_PATIENCE)]
    for link in _names(entry, "link"):
        with contextlib.suppress(KoalesceError):  # it is gone with its namespace, or can't be removed
            netns.ip(f"link del {link}")
        if Path(f"/sys/class/net/{link}").exists():
            left.append(f"link {link}")
    for holder in _paths(entry, "sysctls"):
        SharedSettings().release(holder)
    for folder in _paths(entry, "folder"):
        _unmount_below(folder)
        with contextlib.suppress(OSError):
            folder.rmdir()
        if (folder / MARKER).exists():
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                left.append(str(folder))
    if left:
        raise TeardownError(
            f"of cluster {entry.name} there is still: {', '.join(left)}", command=f"koalesce down {entry.name}"
        )
    ledger.log(entry.name).unlink(missing_ok=True)
    ledger.remove(entry.name)


def mounts_below(folder: Path) -> list[str]:
    """Where something is mounted at or below a folder, the innermost last."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].replace("\\040", " ") for line in lines]
    return [point for point in points if Path(point).is_relative_to(folder)]


def _unmount_below(folder: Path) -> None:
    for point in reversed(mounts_below(folder)):
        with contextlib.suppress(OSError):
            syscalls.unmount(point)


def _names(entry: Entry, kind: ThingKind) -> Sequence[str]:
    return [thing.name for thing in reversed(entry.things) if thing.kind == kind]


def _paths(entry: Entry, kind: ThingKind) -> list[Path]:
    return [Path(name) for name in _names(entry, kind)]

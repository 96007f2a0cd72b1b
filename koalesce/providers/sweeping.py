"""Removes what dead runs left: clusters that nobody holds and nobody kept, and folders of Terraform roots without a cluster."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from koalesce.errors import KoalesceError, TeardownError, UsageError
from koalesce.local.ledger import Entry, Ledger
from koalesce.providers import roots
from koalesce.providers.session import ClusterSession
from koalesce.terraform.runner import end_left

State = Literal["running", "kept", "dead"]
Condition = Literal["starting", "in use", "kept", "ending", "dead"]
_LOGS_STAY = 7 * 24 * 3600.0  # seconds that the log of a failed apply can be looked at
_PAUSE = 0.05
SessionOf = Callable[[Entry], ClusterSession]


@dataclass(frozen=True, slots=True)
class Swept:
    """A dead cluster, and the reason if it could not be removed."""

    name: str
    problem: str = ""
    command: str = ""


def sweep(
    ledger: Ledger | None = None, session_of: SessionOf = ClusterSession.of_entry, *, patience: float = 0.0
) -> list[Swept]:
    """Destroy every dead cluster, and end what runs on of dead Terraforms; raises nothing for one that resists.

    With `patience` (seconds), wait for supervisors that are removing what their dead runners left, and for Terraforms that are about to end.
    """
    ledger = ledger or Ledger()
    end_left()
    _await_supervisors(ledger, patience)
    dead = [entry for entry in ledger.entries() if state(entry, ledger) == "dead"]
    swept = [one for entry in dead if (one := _remove(entry, session_of))]
    _remove_orphans(ledger)
    ledger.tidy()
    end_left(patience=patience)  # a Terraform that outlived its Koalesce has had no cluster to make any more
    return swept


def kept_logs(ledger: Ledger | None = None) -> dict[Path, datetime]:
    """The logs of clusters that could not be made, which can still be looked at, and when they go."""
    ledger = ledger or Ledger()
    folders = [folder for folder in roots.copies(ledger) if roots.is_log_only(folder)]
    return {roots.log_of(folder): datetime.fromtimestamp(_goes_at(folder), UTC) for folder in folders}


def state(entry: Entry, ledger: Ledger) -> State:
    """Who answers for a cluster: a living run, people (kept), or nobody any more: then it is dead, as is one without processes.

    One that never had processes here, and whose time is over, has nobody who would end it: it's dead, too.
    """
    if is_held(entry.name, ledger):
        return "running"
    if entry.is_supervised and not entry.session:
        return "kept"  # plain Terraform made it
    if entry.is_supervised:
        return "kept" if entry.keep else "dead"
    is_left = entry.keep and entry.supervisor is None and not entry.is_over(datetime.now(UTC))
    return "kept" if is_left else "dead"


def condition(entry: Entry, ledger: Ledger) -> Condition:
    """What people are told of a cluster.

    It is `in use` by the run that made it or by one that shares it, or `dead`, as its supervisor is, or `ending`: its supervisor
    answers for it itself, since its run has died or its time is over, and removes it.
    """
    found = state(entry, ledger)
    if found == "dead":
        return "dead"
    if entry.supervisor is not None and entry.supervisor.pid in ledger.users(entry.name):
        return "ending"
    if not entry.ready:
        return "starting"
    return "in use" if found == "running" or ledger.users(entry.name) else "kept"


def is_held(name: str, ledger: Ledger) -> bool:
    """Whether a living process answers for a cluster; asking takes nothing from anybody."""
    try:
        descriptor = os.open(ledger.lock(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def find(name: str) -> Entry:
    """The cluster of this name; UsageError with those that are up otherwise."""
    entries = {entry.name: entry for entry in Ledger().entries()}
    if name in entries:
        return entries[name]
    known = ", ".join(sorted(entries))
    hint = f"up are: {known}" if known else f"no cluster is up{of_others()}"
    raise UsageError(f'no cluster is called "{name}"', hint=hint)


def of_others() -> str:
    """Where a user finds clusters that the same person made by `sudo`: each user has a ledger, and local clusters are root's."""
    return "" if os.geteuid() == 0 else ", of this user; root's are told by: sudo koalesce clusters"


def _await_supervisors(ledger: Ledger, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(
        entry.is_supervised and entry.supervisor is not None and entry.supervisor.pid in ledger.users(entry.name)
        for entry in ledger.entries()
    ):
        time.sleep(_PAUSE)


def _remove(entry: Entry, session_of: SessionOf) -> Swept | None:
    try:
        session_of(entry).down()
    except TeardownError as error:
        return Swept(entry.name, error.message, error.command)
    except UsageError:  # its supervisor, or another sweep, holds it and is at it
        return None
    except KoalesceError as error:
        return Swept(entry.name, error.message, f"koalesce down {entry.name}")
    return Swept(entry.name)


def _remove_orphans(ledger: Ledger) -> None:
    """Remove copies of Terraform roots whose cluster is gone: a supervisor outlived its runner and did the rest."""
    for folder in roots.copies(ledger):
        if ledger.find(folder.name) or is_held(folder.name, ledger):
            continue
        if not roots.is_log_only(folder) or time.time() > _goes_at(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _goes_at(folder: Path) -> float:
    """When the log of a failed apply, of which nothing else is left, has been there long enough."""
    return folder.stat().st_mtime + _LOGS_STAY

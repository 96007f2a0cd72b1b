"""Removes what dead runs left: clusters in the ledger that nobody holds and nobody kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from koalesce.errors import KoalesceError, TeardownError, UsageError
from koalesce.local import ledger
from koalesce.providers.session import ClusterSession


@dataclass(frozen=True, slots=True)
class Swept:
    """A dead cluster, and the reason if it could not be removed."""

    name: str
    problem: str = ""
    command: str = ""


def sweep(session_of: Callable[[ledger.Entry], ClusterSession] = ClusterSession.of_entry) -> list[Swept]:
    """Destroy every dead cluster; raises nothing for one that resists."""
    return [_remove(entry, session_of) for entry in ledger.entries() if entry.state == "dead"]


def _remove(entry: ledger.Entry, session_of: Callable[[ledger.Entry], ClusterSession]) -> Swept:
    try:
        session_of(entry).down()
    except TeardownError as error:
        return Swept(entry.name, error.message, error.command)
    except UsageError:  # its supervisor, or another sweep, holds it and is at it
        return Swept(entry.name)
    except KoalesceError as error:
        return Swept(entry.name, error.message, f"koalesce down {entry.name}")
    return Swept(entry.name)


def find(name: str) -> ledger.Entry:
    """The cluster of this name; UsageError with those that are up otherwise."""
    entries = {entry.name: entry for entry in ledger.entries()}
    if name in entries:
        return entries[name]
    known = ", ".join(sorted(entries))
    raise UsageError(f'no cluster is called "{name}"', hint=f"up are: {known}" if known else "no cluster is up")

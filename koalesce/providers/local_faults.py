"""The fault services of local clusters: asked of a cluster's supervisor, on a connection that each fault lasts no longer than."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from koalesce.cluster import Fault, FaultKind
from koalesce.errors import ClusterError
from koalesce.local.control import Asking
from koalesce.local.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFaults:
    """What can be done to the local cluster of this name."""

    name: str
    kinds: frozenset[FaultKind]
    ledger: Ledger = dataclasses.field(default_factory=Ledger)

    def begin(self, fault: Fault) -> LocalFault:
        """Have it happen; ClusterError if it can't be."""
        entry = self.ledger.find(self.name)
        if entry is None:
            raise ClusterError(f"there is no cluster {self.name} any more")
        asking = Asking(Path(entry.folder))
        try:
            asking.ask(begin=dataclasses.asdict(fault))
        except BaseException:
            asking.close()
            raise
        return LocalFault(asking)


@dataclass(frozen=True, slots=True)
class LocalFault:
    """A fault that lasts as long as its connection."""

    asking: Asking

    def undo(self) -> None:
        """Have it undone."""
        try:
            self.asking.ask(undo=True)
        finally:
            self.asking.close()

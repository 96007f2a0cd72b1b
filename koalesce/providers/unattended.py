"""What providers have in common whose clusters nobody on this machine looks after: nothing there is disturbed on purpose, or brought back."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from koalesce.errors import UsageError
from koalesce.providers.variables import contract_variables

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest, FaultKind
    from koalesce.local.ledger import Entry


class Unattended:
    """Refuses what takes somebody who has watched each node since it was made.

    `place` says of a cluster where it is ("is in a cloud"), `instead` what to do where it would be brought back.
    """

    fault_kinds: frozenset[FaultKind] = frozenset()
    place: ClassVar[str]
    instead: ClassVar[str] = "koalesce down {name}, and koalesce up again"

    def __init__(self) -> None:
        self._settings: dict[str, Any] | None = None  # of the contract, once they are prepared

    def variables(self, request: ClusterRequest, folder: Path) -> dict[str, Any]:
        """Terraform variables of the contract."""
        if self._settings is None:
            raise ValueError("prepare() comes before variables()")
        return contract_variables(request, self._settings)

    def faults(self, name: str) -> None:
        """None: there is nobody on its nodes who could undo them."""
        return

    def note_first_state(self, name: str, *, wait: bool = False) -> None:
        """Nothing: it can't be brought back."""

    def reset(self, entry: Entry) -> list[str]:
        """Refuse."""
        raise UsageError(
            f"{entry.name} {self.place}, and can't be brought back to a first state",
            hint=self.instead.format(name=entry.name),
        )

    def differences(self, entry: Entry, ignored: Collection[str]) -> list[str]:
        """Refuse, likewise."""
        raise UsageError(f"{entry.name} {self.place}; what has become of it can't be told")

"""Looks at machines while something on them is awaited: whether services stay up, and what they write."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from koalesce.errors import ClusterError, KoalesceError
from koalesce.local import static_pods
from koalesce.local.api import Deadline
from koalesce.local.nodeinit import LOGS
from koalesce.machines import layout
from koalesce.machines.shell import Shell

_LOOK = 5.0  # seconds between looks at machines
_TOO_OFTEN = 4
_PATIENCE = 120.0


@dataclass(slots=True, kw_only=True)
class Watch:
    """The machines of a cluster in the making; `shells` are by their nodes' names, `static` the components that are static pods, `timeout` is in seconds."""

    shells: Mapping[str, Shell]
    static: Collection[str]
    timeout: float
    _looked: float = 0.0

    def deadline(self) -> Deadline:
        """Until when something is awaited from now on; machines are looked at meanwhile."""
        return Deadline(self.timeout, self._check)

    def said(self, name: str, *services: str) -> str:
        """The last lines that services of a machine wrote, for messages; why they can't be had, where they can't."""
        shell = self.shells[name]
        parts = []
        for service in services:
            try:
                tail = shell.run(f"tail -q -n 12 {self._log(name, service)} 2>/dev/null", timeout=_PATIENCE).out
            except KoalesceError as error:
                return error.message
            lines = "\n".join(f"  | {line}" for line in tail.splitlines()[-12:])
            parts += [f"{service} on {name} said last:\n{lines}"] if lines else []
        return "\n".join(parts)

    def evidence(self) -> Iterator[tuple[str, str]]:
        """What is told of each machine: everything that its services and static pods wrote, for a file that stays."""
        logs = f"{LOGS}/*.log {static_pods.POD_LOGS}"
        for name, shell in self.shells.items():
            with contextlib.suppress(KoalesceError):
                yield name, shell.run(f"tail -n 2000 {logs} 2>/dev/null; true", timeout=_PATIENCE).out

    def _log(self, name: str, service: str) -> str:
        return static_pods.logs(service, name) if service in self.static else f"{LOGS}/{service}.log"

    def _check(self) -> None:
        """Now and then see that machines answer and their services stay up."""
        if time.monotonic() - self._looked < _LOOK:
            return
        for name, shell in self.shells.items():
            shown = f"systemctl show --property=Id,NRestarts '{layout.UNIT_PREFIX}*'"
            for service, restarts in _restarts(shell.do("its services can't be looked at", shown)):
                if restarts >= _TOO_OFTEN:
                    raise ClusterError(
                        f"{shell.account}: {service} does not stay up\n{self.said(name, service)}".rstrip()
                    )
        self._looked = time.monotonic()


def _restarts(shown: str) -> Iterator[tuple[str, int]]:
    """Services and how often they were started again, of what `systemctl show` prints."""
    for block in shown.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("NRestarts", "").isdigit():
            yield values["Id"].removeprefix(layout.UNIT_PREFIX).removesuffix(".service"), int(values["NRestarts"])

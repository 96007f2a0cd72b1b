"""What is said of a program that somebody killed while it looked at the wire: what has become of its machine."""

from __future__ import annotations

from koalesce import process
from koalesce.cluster import Machine
from koalesce.errors import KoalesceError
from koalesce.steps.wire.pod_probe import PodProbe

_PATIENCE = 10.0


def killed_by(number: int, machine: Machine | PodProbe | None, cancel: process.Cancel | None = None) -> str:
    """The signal, and whether its machine is still there."""
    try:
        if machine is not None:
            machine.run(["true"], timeout=_PATIENCE, cancel=cancel)
    except KoalesceError as error:
        return f"killed by signal {number} ({error.message})"
    return f"killed by signal {number}, as when its machine is switched off or has no memory left"

"""What the commands about clusters that are up share."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from koalesce.providers.sweeping import Swept, sweep


def sweep_first() -> None:
    """Remove what dead runs left before doing anything else; it is told beside the output, also of what resists."""
    swept = sweep()
    for one in swept:
        if not one.problem:
            print(f"removed {one.name}, left by a dead run", file=sys.stderr)
    complain_of(swept)


def complain_of(swept: Iterable[Swept]) -> bool:
    """Tell of the dead clusters that could not be removed; whether there were any."""
    found = False
    for one in swept:
        if one.problem:
            found = True
            print(f"warning: {one.name}, left by a dead run: {one.problem}\n  hint: {one.command}", file=sys.stderr)
    return found

"""`koalesce reset`: bring kept clusters back to their first state."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from koalesce.local.ledger import Entry

NAME = "reset"
HELP = "bring a kept cluster back to its first state"
_EXAMPLES = """\
examples:
  koalesce reset dev
  koalesce reset dev && koalesce run specs/a.yaml --cluster dev    a fresh start without a new cluster
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which clusters."""
    parser.epilog = _EXAMPLES
    parser.add_argument("names", metavar="NAME", nargs="+", help="name of a cluster, as `koalesce clusters` shows it")


def run(args: argparse.Namespace) -> int:
    """Undo what has become of their objects and nodes since they were up; images stay."""
    from koalesce.cli import exit_codes
    from koalesce.providers.sweeping import find

    for entry in [find(name) for name in dict.fromkeys(args.names)]:
        _reset(entry)
    return exit_codes.PASSED


def _reset(entry: Entry) -> None:
    import time

    from koalesce.durations import format_seconds
    from koalesce.errors import ProvisionError
    from koalesce.providers import provider
    from koalesce.providers.joining import hold_kept

    began = time.monotonic()
    with hold_kept(entry.name):
        left = provider(entry.provider).reset(entry)
    if left:
        lines = "\n".join(f"  {line}" for line in left)
        raise ProvisionError(
            f"cluster {entry.name} is not as it was at first:\n{lines}",
            hint=f"make it again: koalesce down {entry.name}, then koalesce up",
        )
    print(f"{entry.name}: as it was at first ({format_seconds(time.monotonic() - began)})")

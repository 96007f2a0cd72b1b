"""`koalesce ssh`: a shell, or a command, on a node or a fixture."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from koalesce.cluster import Machine

NAME = "ssh"
HELP = "run a command, or a shell, on a node of a cluster or a fixture"
_EXAMPLES = """\
examples:
  koalesce ssh dev worker-1                   a shell on a node
  koalesce ssh dev worker-1 ip route
  koalesce ssh dev worker-1 -- ip -j route    behind --: a command with flags of its own
  koalesce ssh dev r1                         a shell on a fixture
"""
# As `sh` is on every node and bash on most.
_SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash -l; exec sh -l")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and what."""
    parser.epilog = _EXAMPLES
    parser.add_argument("name", metavar="NAME", help="name of a cluster, as `koalesce clusters` shows it")
    parser.add_argument("node", metavar="NODE", help="name of a node, as `kubectl get nodes` shows it, or of a fixture")
    parser.add_argument(
        "command",
        metavar="COMMAND",
        nargs="*",
        default=[],
        help="what to run there, behind -- where it has options of its own; default: a shell",
    )
    parser.set_defaults(rest=[])


def run(args: argparse.Namespace) -> int:
    """Run it attached to this terminal; the exit code is the command's."""
    from koalesce.cli.terminals import run_attached

    command = [*args.command, *args.rest]
    machine = _machine(args.name, args.node)
    if not machine.exec:
        from koalesce.errors import UsageError

        raise UsageError(f"cluster {args.name} gives no way to run commands on {machine.name}")
    return run_attached(machine.exec, command or _SHELL)


def _machine(name: str, machine: str) -> Machine:
    from koalesce.providers.roots import machines_of
    from koalesce.providers.sweeping import find

    return _named(machines_of(find(name)), machine, name)


def _named(machines: Sequence[Machine], wanted: str, cluster: str) -> Machine:
    from koalesce.cli.arguments import did_you_mean
    from koalesce.errors import UsageError

    for one in machines:
        if one.name == wanted:
            return one
    names = [one.name for one in machines]
    raise UsageError(
        f"{cluster} has no node or fixture {wanted!r}{did_you_mean(wanted, names)}",
        hint=f"there are: {', '.join(names) or 'none'}",
    )

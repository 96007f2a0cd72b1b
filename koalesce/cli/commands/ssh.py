"""`koalesce ssh`: a shell, or a command, on a node."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from koalesce.cluster import Node

NAME = "ssh"
HELP = "run a command, or a shell, on a node of a cluster"
# As `sh` is on every node and bash on most.
_SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash -l; exec sh -l")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and what."""
    parser.add_argument("name", metavar="NAME", help="name of a cluster, as `koalesce clusters` shows it")
    parser.add_argument("node", metavar="NODE", help="name of a node, as `kubectl get nodes` shows it")
    parser.add_argument(
        "command", metavar="-- COMMAND", nargs=argparse.REMAINDER, help="what to run there; default: a shell"
    )


def run(args: argparse.Namespace) -> int:
    """Run it attached to this terminal; the exit code is the command's."""
    from koalesce.cli.terminals import run_attached

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    return run_attached(_node(args.name, args.node).exec, command or _SHELL)


def _node(name: str, node: str) -> Node:
    from koalesce.providers.roots import nodes_of
    from koalesce.providers.sweeping import find

    return _named(nodes_of(find(name)), node, name)


def _named(nodes: Sequence[Node], node: str, cluster: str) -> Node:
    from koalesce.cli.arguments import did_you_mean
    from koalesce.errors import UsageError

    for one in nodes:
        if one.name == node:
            return one
    names = [one.name for one in nodes]
    raise UsageError(
        f"{cluster} has no node {node!r}{did_you_mean(node, names)}",
        hint=f"its nodes are: {', '.join(names) or 'none'}",
    )

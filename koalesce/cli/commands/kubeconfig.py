"""`koalesce kubeconfig`: what Terraform calls to take and leave a cluster that exists, and what runs a command on a node of it. Not for people."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

NAME = "kubeconfig"
HELP = "take and leave clusters that exist, and run commands on their nodes"
_VARIABLE = "KOALESCE_REQUEST"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`up`, with the request in the environment or on standard input, `down NAME`, and `exec KUBECONFIG NAMESPACE/NODE -- COMMAND`."""
    parser.add_argument("action", choices=("up", "down", "exec"))
    parser.add_argument(
        "name", nargs="?", help="the cluster to leave, or the kubeconfig that leads to the one whose node is meant"
    )
    parser.add_argument(
        "node", nargs="?", help="the node to run a command on, behind the namespace of our pods and a slash"
    )
    parser.set_defaults(rest=[])  # behind --: the command


def run(args: argparse.Namespace) -> int:
    """Take or leave the cluster (progress goes to standard output), or run a command on a node of it (the exit code is the command's)."""
    from koalesce.errors import UsageError

    if args.action == "exec":
        if not (args.name and args.node and args.rest):
            raise UsageError("koalesce kubeconfig exec: what, and where?")
        return _exec(Path(args.name), args.node, args.rest)
    from koalesce.providers import taking

    if args.action == "down":
        if not args.name:
            raise UsageError("koalesce kubeconfig down: which cluster?")
        taking.leave(args.name)
        return 0
    taking.take(os.environ.get(_VARIABLE) or sys.stdin.read(), progress=lambda line: print(line, flush=True))
    return 0


def _exec(kubeconfig: Path, where: str, command: list[str]) -> int:
    from koalesce.kube import Kube
    from koalesce.providers import node_exec

    namespace, _, node = where.partition("/")
    kube = Kube(kubeconfig)
    try:
        return node_exec.run(kube, namespace, node, command)
    finally:
        kube.close()

"""`koalesce kubeconfig`: what Terraform calls to take and leave a cluster that exists. Not for people."""

from __future__ import annotations

import argparse
import os
import sys

NAME = "kubeconfig"
HELP = "take and leave clusters that exist"
_VARIABLE = "KOALESCE_REQUEST"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`up`, with the request in the environment or on standard input, and `down NAME`."""
    parser.add_argument("action", choices=("up", "down"))
    parser.add_argument("name", nargs="?", help="the cluster to leave")


def run(args: argparse.Namespace) -> int:
    """Take or leave the cluster; progress goes to standard output."""
    from koalesce.errors import UsageError
    from koalesce.providers import taking

    if args.action == "down":
        if not args.name:
            raise UsageError("koalesce kubeconfig down: which cluster?")
        taking.leave(args.name)
        return 0
    taking.take(os.environ.get(_VARIABLE) or sys.stdin.read(), progress=lambda line: print(line, flush=True))
    return 0

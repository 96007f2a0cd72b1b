"""`koalesce machines`: what Terraform calls to make and remove a cluster on machines that somebody has. Not for people."""

from __future__ import annotations

import argparse
import os
import sys

NAME = "machines"
HELP = "make and remove clusters on machines that are reached by SSH"
_VARIABLE = "KOALESCE_REQUEST"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`key` and `up`, with the request in the environment or on standard input, and `down` and `forget` with a name."""
    parser.add_argument("action", choices=("key", "up", "down", "forget"))
    parser.add_argument("name", nargs="?", help="the cluster to remove")


def run(args: argparse.Namespace) -> int:
    """Make or remove the cluster; progress goes to standard output."""
    from koalesce.errors import UsageError
    from koalesce.machines import client

    if args.action in ("down", "forget"):
        if not args.name:
            raise UsageError(f"koalesce machines {args.action}: which cluster?")
        (client.down if args.action == "down" else client.forget)(args.name)
        return 0
    request = os.environ.get(_VARIABLE) or sys.stdin.read()
    if args.action == "key":
        client.make_key(request)
    else:
        client.up(request, progress=lambda line: print(line, flush=True))
    return 0

"""`koalesce vms`: what Terraform calls to make and remove a cluster of virtual machines. Not for people."""

from __future__ import annotations

import argparse
import os
import sys

NAME = "vms"
HELP = "make and remove clusters of virtual machines"
_VARIABLE = "KOALESCE_REQUEST"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`up`, with the request in the environment or on standard input, and `down NAME`."""
    parser.add_argument("action", choices=("up", "down"))
    parser.add_argument("name", nargs="?", help="the cluster to remove")


def run(args: argparse.Namespace) -> int:
    """Make or remove the cluster; progress goes to standard output."""
    from koalesce.errors import UsageError
    from koalesce.vms import client

    if args.action == "down":
        if not args.name:
            raise UsageError("koalesce vms down: which cluster?")
        client.down(args.name)
        return 0
    client.up(os.environ.get(_VARIABLE) or sys.stdin.read(), progress=lambda line: print(line, flush=True))
    return 0

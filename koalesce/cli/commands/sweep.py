"""`koalesce sweep`: remove what dead runs left."""

from __future__ import annotations

import argparse

NAME = "sweep"
HELP = "remove what dead runs left"
_EXAMPLES = """\
examples:
  koalesce sweep                                   what dead runs left on this machine
  koalesce sweep --provider hcloud                 what has outlived its time in a cloud
  koalesce sweep --provider hcloud --run 8c551a    all that one run made there

The log of a cluster that could not be made stays for a week: the message of the failure names it, and the command where it still is. So
long it can be looked at; a sweep after that, or the next run, removes it.
"""
_PATIENCE = 30.0  # seconds in which a supervisor removes its cluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where: on this machine, or in a cloud."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "--provider",
        metavar="NAME",
        help="remove what clusters have left in this cloud, from whatever machine they were made",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--expired", action="store_true", help="there: what has outlived its time (default)")
    which.add_argument("--run", metavar="ID", help="there: all that this run has made")


def run(args: argparse.Namespace) -> int:
    """Destroy the clusters of runs that are dead, or what they left in a cloud, and say which."""
    from koalesce.errors import UsageError

    if args.provider:
        return _sweep_cloud(args.provider, args.run or "")
    if args.expired or args.run:
        raise UsageError(
            "koalesce sweep: --expired and --run are about a cloud", hint="say which: koalesce sweep --provider hcloud"
        )
    return _sweep_machine()


def _sweep_machine() -> int:
    from koalesce.cli import exit_codes
    from koalesce.cli.clusters import complain_of
    from koalesce.providers.sweeping import kept_logs, sweep

    swept = sweep(patience=_PATIENCE)
    for one in swept:
        if not one.problem:
            print(f"{one.name}: removed")
    if not swept:
        print("nothing to sweep")
    for path, until in sorted(kept_logs().items()):
        print(f"left to be looked at, until {until:%Y-%m-%d %H:%M} UTC: {path}")
    return exit_codes.TEARDOWN_FAILED if complain_of(swept) else exit_codes.PASSED


def _sweep_cloud(name: str, run: str) -> int:
    from datetime import UTC, datetime

    from koalesce.cli import exit_codes
    from koalesce.providers.cloud_sweeping import sweep_cloud

    swept = sweep_cloud(
        name, run=run, now=datetime.now(UTC), told=lambda resource: print(f"{resource}: removed", flush=True)
    )
    for kept, resources in swept.kept.items():
        until = max((each.expires for each in resources if each.expires), default=None)
        print(f"left alone: {len(resources)} of run {kept}{f', until {until:%Y-%m-%d %H:%M} UTC' if until else ''}")
    if not swept.removed:
        print("nothing to sweep")
    return exit_codes.PASSED

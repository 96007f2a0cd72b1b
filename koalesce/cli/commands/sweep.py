"""`koalesce sweep`: remove what dead runs left."""

from __future__ import annotations

import argparse

NAME = "sweep"
HELP = "remove what dead runs left"
_PATIENCE = 30.0  # seconds in which a supervisor removes its cluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> int:
    """Destroy the clusters of runs that are dead, and say which."""
    from koalesce.cli import exit_codes
    from koalesce.cli.clusters import complain_of
    from koalesce.providers.sweeping import sweep

    swept = sweep(patience=_PATIENCE)
    for one in swept:
        if not one.problem:
            print(f"{one.name}: removed")
    if not swept:
        print("nothing to sweep")
    return exit_codes.TEARDOWN_FAILED if complain_of(swept) else exit_codes.PASSED

"""`koalesce complete`: what shells ask while people type."""

from __future__ import annotations

import argparse

NAME = "complete"
HELP = "offer words for a command line, one a line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line so far."""
    parser.set_defaults(rest=[])  # behind --: what follows `koalesce`


def run(args: argparse.Namespace) -> int:
    """Print what the last word may become."""
    from koalesce.cli import exit_codes
    from koalesce.cli.completing import candidates
    from koalesce.reporters.text import inert

    print("".join(f"{inert(word)}\n" for word in candidates(args.rest)), end="")
    return exit_codes.PASSED

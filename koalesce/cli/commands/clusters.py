"""`koalesce clusters`: which clusters are up."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from koalesce.local.ledger import Entry

NAME = "clusters"
HELP = "list the clusters that are up"
_HEADER = ("NAME", "AGE", "STATE", "NODES", "KUBERNETES", "PROVIDER", "KUBECONFIG")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to print."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print the names only")


def run(args: argparse.Namespace) -> int:
    """Print a line for each cluster of this user."""
    from datetime import UTC, datetime

    from koalesce.cli import exit_codes
    from koalesce.cli.clusters import sweep_quietly
    from koalesce.local import ledger

    sweep_quietly()
    entries = sorted(ledger.entries(), key=lambda entry: entry.created)
    if args.quiet:
        print("".join(f"{entry.name}\n" for entry in entries), end="")
    elif entries:
        print(table(entries, datetime.now(UTC)))
    else:
        print("no cluster is up")
    return exit_codes.PASSED


def table(entries: Sequence[Entry], now: datetime) -> str:
    """The clusters as aligned columns. State is running (a living run holds it), kept, or dead (could not be removed)."""
    rows = [_HEADER, *(_row(entry, now) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(entry: Entry, now: datetime) -> tuple[str, ...]:
    from koalesce.durations import format_seconds

    age = format_seconds(max(0, round((now - entry.created).total_seconds())))
    return (
        entry.name,
        age,
        entry.state,
        str(entry.nodes),
        entry.kubernetes,
        entry.provider,
        str(entry.kubeconfig or "-"),
    )

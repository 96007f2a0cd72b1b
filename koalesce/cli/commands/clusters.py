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
    from koalesce.cli.clusters import sweep_first
    from koalesce.local.ledger import Ledger
    from koalesce.providers.sweeping import state

    sweep_first()
    ledger = Ledger()
    entries = sorted(ledger.entries(), key=lambda entry: (entry.created, entry.name))
    if args.quiet:
        print("".join(f"{entry.name}\n" for entry in entries), end="")
    elif entries:
        print(table([(entry, state(entry, ledger)) for entry in entries], datetime.now(UTC)))
    else:
        print("no cluster is up")
    return exit_codes.PASSED


def table(clusters: Sequence[tuple[Entry, str]], now: datetime) -> str:
    """Clusters and their states as aligned columns."""
    rows = [_HEADER, *(_row(entry, state, now) for entry, state in clusters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(entry: Entry, state: str, now: datetime) -> tuple[str, ...]:
    nodes = str(len(entry.nodes))
    return (
        entry.name,
        _age(entry, now),
        state,
        nodes,
        entry.kubernetes or "-",
        entry.provider,
        entry.kubeconfig or "-",
    )


def _age(entry: Entry, now: datetime) -> str:
    from datetime import datetime

    from koalesce.durations import format_seconds

    try:
        return format_seconds(max(1, round((now - datetime.fromisoformat(entry.created)).total_seconds())))
    except (ValueError, TypeError):  # written by another version
        return "-"

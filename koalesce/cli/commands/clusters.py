"""`koalesce clusters`: which clusters are up."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from koalesce.local.ledger import Entry
    from koalesce.providers.sweeping import Condition

NAME = "clusters"
HELP = "list the clusters that are up"
_HEADER = ("NAME", "OWNER", "AGE", "STATE", "ENDS IN", "NODES", "KUBERNETES", "PROVIDER", "SPEC", "KUBECONFIG")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to print."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-q", "--quiet", action="store_true", help="print the names only")
    how.add_argument("--json", action="store_true", help="print a JSON list, times in seconds")


def run(args: argparse.Namespace) -> int:
    """Print a line for each cluster of this user."""
    from datetime import UTC, datetime

    from koalesce.cli import exit_codes
    from koalesce.cli.clusters import sweep_first
    from koalesce.local.ledger import Ledger
    from koalesce.providers.sweeping import condition, of_others

    sweep_first()
    ledger = Ledger()
    entries = sorted(ledger.entries(), key=lambda entry: (entry.created, entry.name))
    clusters = [(entry, condition(entry, ledger)) for entry in entries]
    if args.quiet:
        print("".join(f"{entry.name}\n" for entry in entries), end="")
    elif args.json:
        print(as_json(clusters, datetime.now(UTC)))
    elif entries:
        print(table(clusters, datetime.now(UTC)))
    else:
        print(f"no cluster is up{of_others()}")
    return exit_codes.PASSED


def table(clusters: Sequence[tuple[Entry, Condition]], now: datetime) -> str:
    """Clusters and their states as aligned columns."""
    rows = [_HEADER, *(_row(entry, state, now) for entry, state in clusters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_json(clusters: Sequence[tuple[Entry, Condition]], now: datetime) -> str:
    """Clusters and their states as a JSON list."""
    import json

    values = [
        {
            "name": entry.name,
            "owner": entry.owner,
            "spec": entry.spec,
            "state": state,
            "created": entry.created,
            "age": _age(entry, now),
            "ttl": entry.ttl or None,
            "endsIn": _rest(entry, now),
            "nodes": list(entry.nodes),
            "kubernetes": entry.kubernetes,
            "provider": entry.provider,
            "kubeconfig": entry.kubeconfig,
        }
        for entry, state in clusters
    ]
    return json.dumps(values, indent=2)


def _row(entry: Entry, state: Condition, now: datetime) -> tuple[str, ...]:
    return (
        entry.name,
        entry.owner or "-",
        _shown(_age(entry, now)),
        state,
        _shown(_rest(entry, now)),
        str(len(entry.nodes)),
        entry.kubernetes or "-",
        entry.provider,
        entry.spec or "-",
        entry.kubeconfig or "-",
    )


def _shown(seconds: float | None) -> str:
    from koalesce.durations import format_seconds

    return "-" if seconds is None else format_seconds(max(1, round(seconds)))


def _rest(entry: Entry, now: datetime) -> float | None:
    """Seconds until a cluster that is kept, and not used then, is removed by itself."""
    age = _age(entry, now)
    return max(0.0, entry.ttl - age) if entry.ttl and entry.keep and age is not None else None


def _age(entry: Entry, now: datetime) -> float | None:
    from datetime import datetime

    try:
        return (now - datetime.fromisoformat(entry.created)).total_seconds()
    except (ValueError, TypeError):  # written by another version
        return None

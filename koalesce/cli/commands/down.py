"""`koalesce down`: destroy clusters."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from koalesce.errors import KoalesceError
    from koalesce.local.ledger import Entry

NAME = "down"
HELP = "destroy clusters that are up"
_EXAMPLES = """\
examples:
  koalesce down dev
  koalesce down --all                          every cluster of yours that no run holds
  koalesce down dev --machines machines.yaml   one that another computer made on these machines (provider ssh)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which clusters."""
    parser.epilog = _EXAMPLES
    parser.add_argument("names", metavar="NAME", nargs="*", help="name of a cluster, as `koalesce clusters` shows it")
    parser.add_argument("--all", action="store_true", help="every cluster of this user that no living run holds")
    parser.add_argument(
        "--forget", action="store_true",
        help="forget clusters that can't be removed as what they were on is gone for good (providers kubeconfig and ssh); says what may be left there",
    )  # fmt: skip
    parser.add_argument(
        "--machines", metavar="FILE",
        help="remove clusters that aren't known here, such as those of another computer, from these machines (provider ssh)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Destroy them one after the other; one that resists doesn't keep the others."""
    from koalesce.cli import exit_codes
    from koalesce.cli.stopping import Stop
    from koalesce.errors import KoalesceError, UsageError

    if bool(args.names) == args.all:
        raise UsageError("koalesce down: name the clusters, or say --all", hint="koalesce clusters lists them")
    if args.machines and not args.names:
        raise UsageError(
            "koalesce down: --machines goes with names of clusters", hint="koalesce down NAME --machines FILE"
        )
    if args.forget and (args.machines or not args.names):
        raise UsageError(
            "koalesce down: --forget goes with names of clusters alone", hint="koalesce down NAME --forget"
        )
    code = exit_codes.PASSED
    stop = Stop()
    names = _known(args.names, args.machines) if args.machines else args.names
    if args.names and not names:
        return code
    with stop.on_signals():  # a cluster that is being destroyed is destroyed to its end
        for entry in _chosen(names):
            if stop.cancel.is_set():
                return exit_codes.worse(code, exit_codes.INTERRUPTED)
            try:
                _destroy(entry, forget=args.forget)
            except KoalesceError as error:
                if len(args.names) == 1:
                    raise
                code = exit_codes.worse(code, _told(entry.name, error))
    return code


def _known(names: list[str], file: str) -> list[str]:
    """The names of clusters that are known here; the others are removed from the machines of a list."""
    from pathlib import Path

    from koalesce.errors import UsageError
    from koalesce.local.ledger import Ledger
    from koalesce.machines import client
    from koalesce.providers import machine_list

    unknown = [name for name in dict.fromkeys(names) if Ledger().find(name) is None]
    settings = machine_list.of_settings(machine_list.read(Path(file).expanduser())).settings()
    for name in unknown:
        freed = client.free(name, settings, command=f"koalesce down {name} --machines {file}")
        if not freed:
            raise UsageError(f'no cluster is called "{name}", and none of the machines has one of that name')
        print(f"{name}: removed from {', '.join(freed)}")
    return [name for name in names if name not in unknown]


def _chosen(names: list[str]) -> list[Entry]:
    """The named clusters, else all; those of living runs only if they are named (then they are refused, with the reason)."""
    from koalesce.local.ledger import Ledger
    from koalesce.providers.sweeping import find, is_held

    if names:
        return [find(name) for name in dict.fromkeys(names)]
    ledger = Ledger()
    entries = [entry for entry in ledger.entries() if not is_held(entry.name, ledger)]
    if not entries:
        print("no cluster to destroy")
    return entries


def _destroy(entry: Entry, *, forget: bool) -> None:
    import sys
    import time

    from koalesce.durations import format_seconds
    from koalesce.providers.session import ClusterSession

    began = time.monotonic()
    session = ClusterSession.of_entry(entry)
    if forget:
        if left := session.forget():
            print(f"{entry.name}: {left}", file=sys.stderr)
            print(f"{entry.name}: forgotten ({format_seconds(time.monotonic() - began)})")
            return
    else:
        session.down()
    what = "left" if entry.provider == "kubeconfig" else "destroyed"  # others made it, and it stays
    print(f"{entry.name}: {what} ({format_seconds(time.monotonic() - began)})")


def _told(name: str, error: KoalesceError) -> int:
    import sys

    from koalesce.cli import exit_codes

    print(f"{name}: {error}", file=sys.stderr)
    code = exit_codes.of_error(error)
    return exit_codes.ERROR if code == exit_codes.USAGE else code  # others are gone already: something was started

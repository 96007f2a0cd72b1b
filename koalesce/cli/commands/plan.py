"""`koalesce plan`: what a run would do, step by step, and what Terraform would make for it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from koalesce.cli import run_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from koalesce.engine import RunOptions, Selected

NAME = "plan"
HELP = "show the steps that a run would take, and Terraform's plan of its clusters"
_EXAMPLES = """\
examples:
  koalesce plan specs/kube-router.yaml
  koalesce plan specs/ --run policy --no-terraform    the steps only: nothing is executed
  koalesce plan specs/a.yaml --kubernetes 1.34 --set version=v2.10.0
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to plan: the flags of run that say what runs where."""
    parser.epilog = _EXAMPLES
    run_arguments.add_paths(parser)
    run_arguments.add_selection(parser)
    run_arguments.add_place(parser)
    parser.add_argument("--trust", action="store_true", help="plan specs from outside the project too: they are code")
    parser.add_argument("--no-terraform", action="store_true", help="leave out Terraform's init and plan")


def run(args: argparse.Namespace) -> int:
    """Print steps, then the changes that Terraform would make; nothing is made."""
    import threading

    from koalesce import engine
    from koalesce.cli import exit_codes
    from koalesce.cli.plans import planned
    from koalesce.cli.run_options import only_failed, options_of, refuse_both
    from koalesce.cli.settings import fill_in
    from koalesce.reporters.text import inert

    refuse_both(args)
    fill_in(args)
    options = options_of(args, threading.Event(), only_failed(args))
    chosen = engine.prepare(options)
    lines = list(planned(chosen, options, steps=True))
    if not args.no_terraform and options.cluster is None:
        lines[-1:-1] = _terraform(chosen, options)
    print("".join(f"{inert(line)}\n" for line in lines), end="")
    return exit_codes.PASSED if any(each.tests for each in chosen) else exit_codes.NO_TESTS


def _terraform(chosen: Sequence[Selected], options: RunOptions) -> Iterator[str]:
    """Terraform's changes for each cluster; the same request is planned once."""
    from koalesce.engine.provision import overrides
    from koalesce.providers.planning import planned_changes

    known: dict[str, list[str]] = {}
    for each in chosen:
        for section in () if each.is_all_skipped else each.loaded.spec.cluster_specs:
            request = each.loaded.request("plan", "plan", overrides(options), section=section)
            key = repr(request)
            if key not in known:
                known[key] = planned_changes(request)
            yield f"terraform for {each.loaded.shown}{f', cluster {section}' if section else ''}:"
            yield from (f"  {change}" for change in known[key])

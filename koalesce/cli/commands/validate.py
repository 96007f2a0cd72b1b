"""`koalesce validate`: check specs without running anything."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from koalesce.cli.arguments import add_variables, variables_of

if TYPE_CHECKING:
    from pathlib import Path

    from koalesce.spec import LoadedSpec

NAME = "validate"
HELP = "check specs without running anything"
_EXAMPLES = """\
examples:
  koalesce validate                     every spec below this folder
  koalesce validate specs/a.yaml --set version=v2.10.0
  koalesce validate 'specs/*-dns.yaml'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which specs, and with which variables."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="a spec, a folder, a glob or ./... (default: every spec below here)"
    )
    add_variables(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line for each valid spec and every problem of the others."""
    from koalesce.cli import exit_codes
    from koalesce.cli.specs import find_specs
    from koalesce.spec import InvalidSpecs, SharedFileNamed, load_cells
    from koalesce.spec.values import check_settable

    paths, variables = find_specs(args.paths), variables_of(args)
    valid: list[LoadedSpec] = []
    invalid = problems = 0
    for path in paths:
        try:
            cells, lines = [], []
            try:
                cells = load_cells(path, variables=variables)
                lines = [_summary(loaded) for loaded in cells]
            except SharedFileNamed:
                lines = [_of_shared(path)]
        except InvalidSpecs as error:
            invalid += 1
            problems += len(error.problems)
            print(error, file=sys.stderr)
        else:
            valid += cells
            print("\n".join(lines))
    if not invalid:
        check_settable(valid, variables)
        return exit_codes.PASSED
    print(f"{_count(problems, 'problem')} in {invalid} of {_count(len(paths), 'spec')}", file=sys.stderr)
    return exit_codes.USAGE


def _summary(loaded: LoadedSpec) -> str:
    return f"ok  {loaded.shown}  {_count(len(loaded.spec.tests), 'test')}"


def _of_shared(path: Path) -> str:
    from koalesce.spec.files import shown
    from koalesce.spec.sharing import check_shared

    shared = check_shared(path)
    return f"ok  {shown(path)}  {_count(len(shared.groups), 'step group')}; what depends on a spec is checked with those that use it"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

"""`koalesce list`: specs and their tests."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from koalesce.cli.arguments import add_variables, variables_of

if TYPE_CHECKING:
    from koalesce.spec import LoadedSpec

NAME = "list"
HELP = "list specs and their tests"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which specs."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="a spec, a folder or ./... (default: every spec below here)"
    )
    add_variables(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line for each test, that begins with its place."""
    from koalesce.cli import exit_codes
    from koalesce.cli.specs import find_specs
    from koalesce.reporters.text import inert
    from koalesce.spec import load_all
    from koalesce.spec.values import check_settable

    variables = variables_of(args)
    specs = load_all(find_specs(args.paths), variables=variables)
    check_settable(specs, variables)
    for spec in specs:
        print("".join(f"{inert(line)}\n" for line in _lines(spec)), end="")
    return exit_codes.PASSED


def _lines(spec: LoadedSpec) -> Iterator[str]:
    from koalesce.reporters.text import location, one_line

    for index, test in enumerate(spec.spec.tests):
        skipped = f"  (skipped: {one_line(test.skip)})" if test.skip else ""
        yield f"{location(spec.shown, spec.test_line(index))}  {one_line(test.name)}{skipped}"

"""`koalesce list`: specs and their tests."""

from __future__ import annotations

import argparse

from koalesce.cli.arguments import add_variables, variables_of

NAME = "list"
HELP = "list specs and their tests"
_EXAMPLES = """\
examples:
  koalesce list                     the tests of every spec below this folder
  koalesce list specs/a.yaml
  koalesce list --set replicas=3    as they are with this variable
  koalesce run --list --run dns     those that a run with these flags would take
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which specs."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="a spec, a folder, a glob or ./... (default: every spec below here)"
    )
    add_variables(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line for each test, that begins with its place."""
    from koalesce.cli import exit_codes
    from koalesce.cli.listing import all_tests
    from koalesce.cli.specs import find_specs
    from koalesce.reporters.text import inert
    from koalesce.spec import load_all
    from koalesce.spec.values import check_settable

    variables = variables_of(args)
    specs = load_all(find_specs(args.paths), variables=variables)
    check_settable(specs, variables)
    for spec in specs:
        print("".join(f"{inert(line)}\n" for line in all_tests(spec)), end="")
    return exit_codes.PASSED

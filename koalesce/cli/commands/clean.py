"""`koalesce clean --testcache`: forget the results of specs that passed, so that each runs again."""

from __future__ import annotations

import argparse

NAME = "clean"
HELP = "forget results that are used again"
_EXAMPLES = """\
examples:
  koalesce clean --testcache    every spec runs again, once

What has been downloaded or built stays. A single run does without earlier results: koalesce run --count 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is to go."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--testcache", action="store_true", help="the results of specs that passed")


def run(args: argparse.Namespace) -> int:
    """Remove them, and say how many there were."""
    from koalesce.engine.cached.store import Results
    from koalesce.errors import KoalesceError, UsageError

    if not args.testcache:
        raise UsageError("koalesce clean: say what is to go", hint="koalesce clean --testcache")
    results = Results()
    try:
        count = results.clear()
    except OSError as error:
        raise KoalesceError(f"{results.folder} can't be removed: {error.strerror or error}") from error
    print(f"{count} results forgotten" if count != 1 else "1 result forgotten")
    return 0

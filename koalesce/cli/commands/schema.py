"""`koalesce schema`: the JSON Schema of specs, for editors."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "schema"
HELP = "print the JSON schema of specs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to write it."""
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write it to a file instead")


def run(args: argparse.Namespace) -> int:
    """Print or write the schema."""
    from koalesce.errors import UsageError
    from koalesce.spec.schema import schema_text

    if args.output is None:
        print(schema_text(), end="")
        return 0
    try:
        args.output.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{args.output} can't be written: {error.strerror}") from error
    return 0

"""`koalesce schema`: the JSON Schema of specs and of files with step groups, for editors."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "schema"
HELP = "print the JSON schema of specs, or of files with step groups"
_EXAMPLES = """\
examples:
  koalesce schema -o schemas/spec.schema.json    name it in a spec: # yaml-language-server: $schema=../schemas/spec.schema.json
  koalesce schema steps > steps.schema.json      for files with step groups
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of what, and where to write it."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "kind", nargs="?", choices=("spec", "steps"), default="spec",
        help="of specs (kind: Spec), which is the default, or of files with step groups (kind: Steps)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write it to a file instead")


def run(args: argparse.Namespace) -> int:
    """Print or write the schema."""
    from koalesce.errors import UsageError
    from koalesce.spec.schema import schema_text

    text = schema_text(args.kind)
    if args.output is None:
        print(text, end="")
        return 0
    try:
        args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{args.output} can't be written: {error.strerror}") from error
    return 0

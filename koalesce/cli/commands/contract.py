"""`koalesce contract`: whether Terraform roots of cluster providers keep the contract."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from koalesce.terraform.trying import Tried

NAME = "contract"
HELP = "check that the Terraform roots of cluster providers keep the contract, or write what they have of it"
_EXAMPLES = """\
examples:
  koalesce contract koalesce_acme/terraform            its files, and what Terraform says of them where its plugins are at hand
  koalesce contract koalesce_acme/terraform --write    first write variables.tf, texts of outputs, and the table in README.md
  terraform providers mirror ~/plugins && koalesce contract . --plugins ~/plugins
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which roots, and how."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "folders", metavar="FOLDER", nargs="*", type=Path, default=[Path()], help="a folder with a root (default: this one)"
    )  # fmt: skip
    parser.add_argument(
        "--write", action="store_true",
        help="write what comes from the contract; the type of the variable settings and the values of outputs stay",
    )  # fmt: skip
    parser.add_argument(
        "--plugins", metavar="FOLDER", type=Path,
        help="a mirror with Terraform's plugins (default: $KOALESCE_TERRAFORM_PLUGINS, or one in the cache); no registry is asked",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print a line for each root that keeps it and every problem of the others."""
    from koalesce.cli import exit_codes
    from koalesce.errors import UsageError
    from koalesce.reporters.text import inert
    from koalesce.terraform.keeping import problems

    code = exit_codes.PASSED
    for folder in args.folders:
        if not any(folder.glob("*.tf")):
            raise UsageError(
                f"{folder} is no Terraform root: it has no *.tf", hint="koalesce init provider NAME writes one"
            )
        if args.write:
            _write(folder)
        tried = _tried(folder, args.plugins)
        found = [*problems(folder), *tried.problems]
        for problem in found:
            print(inert(f"{folder}: {problem}"), file=sys.stderr)
        if not found:
            print(f"ok  {folder}")
        for reason in tried.skipped:
            print(inert(f"    skipped: {reason}"))
        code = exit_codes.FAILED if found else code
    return code


def _tried(folder: Path, plugins: Path | None) -> Tried:
    from koalesce.errors import ProvisionError
    from koalesce.terraform.binary import find_binary
    from koalesce.terraform.trying import Tried, tried

    try:
        binary = find_binary()
    except ProvisionError as error:
        return Tried(skipped=(f"what Terraform says: {error.message}",))
    return tried(folder, binary=binary, plugins=plugins)


def _write(folder: Path) -> None:
    from koalesce.reporters.files import write_whole
    from koalesce.terraform.writing import written

    for path, text in written(folder).items():
        if path.read_text(encoding="utf-8") != text:
            write_whole(path, text.encode())
            print(f"wrote {path}")

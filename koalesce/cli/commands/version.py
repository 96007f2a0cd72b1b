"""`koalesce version`: what is installed, for bug reports."""

from __future__ import annotations

import argparse
import platform

import koalesce

NAME = "version"
HELP = "print the version of Koalesce and of what it runs on"
_EXAMPLES = """\
examples:
  koalesce version
  koalesce --version    that of Koalesce alone
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""
    parser.epilog = _EXAMPLES


def run(args: argparse.Namespace) -> int:
    """Print one line each."""
    from koalesce.assets import cache_dir, state_dir

    rows = {
        "koalesce": koalesce.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "terraform": _terraform(),
        "cache": str(cache_dir()),
        "state": str(state_dir()),
    }
    for name, value in rows.items():
        print(f"{name:<10} {value}")
    return 0


def _terraform() -> str:
    """The program that would make clusters, or why there is none."""
    from koalesce.errors import ProvisionError
    from koalesce.terraform.binary import find_binary

    try:
        return str(find_binary())
    except ProvisionError as error:
        return error.message

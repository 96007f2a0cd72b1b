"""Asks for what is missing, where there is somebody to ask."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from koalesce.errors import MissingCredentials


def have_been_given(missing: MissingCredentials) -> bool:
    """Ask for credentials in a terminal, without showing them, and put them into the environment of this process alone; whether all were given."""
    if not is_there_anybody():
        return False
    from getpass import getpass

    for name, what in missing.credentials.items():
        print(f"{name}: {what}", file=sys.stderr)
        try:
            given = getpass("  value (isn't shown; empty: stop): ")
        except EOFError:
            return False
        if not given:
            return False
        os.environ[name] = given
    return True


def is_there_anybody() -> bool:
    """Whether somebody at a terminal would see a question, and could answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()

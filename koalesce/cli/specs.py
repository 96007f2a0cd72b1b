"""Specs as people name them on a command line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from koalesce.errors import UsageError


def names_specs(patterns: Sequence[str]) -> bool:
    """Whether specs are named one by one, rather than as those of a folder, a glob or `./...`."""
    return any(Path(pattern).is_file() for pattern in patterns)


def find_specs(patterns: Sequence[str]) -> list[Path]:
    """The specs of files, globs, folders and `./...`; those below the working folder where nothing is named; UsageError for none."""
    from koalesce.spec import discover

    found = discover(patterns)
    if not found:
        where = shlex.join(patterns) if patterns else "this folder and those below it"
        raise UsageError(
            f"no specs in {where}", hint="a spec is a YAML file of apiVersion koalesce.dev/v1alpha1 and kind Spec"
        )
    return found

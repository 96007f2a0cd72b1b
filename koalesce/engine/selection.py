"""Which tests of which specs run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from koalesce.errors import UsageError
from koalesce.spec import LoadedSpec
from koalesce.spec.models import Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """A spec with those of its tests that are to run, each with its line."""

    loaded: LoadedSpec
    tests: tuple[tuple[Test, int], ...]


def select(loaded: list[LoadedSpec], pattern: str | None) -> list[Selected]:
    """The tests whose names a regular expression finds; specs without any are left out. UsageError for a bad expression.

    It is looked for in a test's name, its cell included, and in the same with the cell of the spec behind it.
    """
    try:
        wanted = re.compile(pattern) if pattern else None
    except re.error as error:
        raise UsageError(f"--run {pattern}: not a regular expression: {error}") from error
    chosen = [Selected(loaded=spec, tests=tuple(_tests(spec, wanted))) for spec in loaded]
    return [selected for selected in chosen if selected.tests or wanted is None]


def _tests(loaded: LoadedSpec, wanted: re.Pattern[str] | None) -> list[tuple[Test, int]]:
    return [
        (test, loaded.test_line(index))
        for index, test in enumerate(loaded.spec.tests)
        if wanted is None or _is_found(wanted, test.name, loaded)
    ]


def _is_found(wanted: re.Pattern[str], name: str, loaded: LoadedSpec) -> bool:
    return bool(wanted.search(name)) or (loaded.cell is not None and bool(wanted.search(f"{name} [{loaded.cell}]")))


def check_trusted(paths: list[Path], root: Path) -> None:
    """Raise UsageError for specs from outside of a project: a spec is code, and running it executes it."""
    foreign = [path for path in paths if not path.resolve().is_relative_to(root)]
    if foreign:
        names = ", ".join(map(str, foreign[:3])) + (" …" if len(foreign) > 3 else "")
        raise UsageError(
            f"{names}: outside of the project {root}", hint="a spec is code; say --trust if you trust this one"
        )

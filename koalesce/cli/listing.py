"""Tests as lines, each beginning with its place, which editors and terminals make a link of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from koalesce.reporters.text import location, one_line

if TYPE_CHECKING:
    from koalesce.engine import Selected
    from koalesce.spec import LoadedSpec, Test


def all_tests(spec: LoadedSpec) -> Iterator[str]:
    """A line for each test of a spec."""
    from koalesce.spec.foreseen import foreseen_skip

    for index, test in enumerate(spec.spec.tests):
        yield _line(spec, test, spec.test_line(index), foreseen_skip(spec, test))


def selected_tests(selected: Selected) -> Iterator[str]:
    """A line for each test of a spec that is to run, in the order in which they begin."""
    for test, line in selected.tests:
        yield _line(selected.loaded, test, line, selected.skipped.get(test.name, ""))


def _line(spec: LoadedSpec, test: Test, line: int, reason: str) -> str:
    skipped = f"  (skipped: {one_line(reason)})" if reason else ""
    return f"{location(spec.shown, line)}  {one_line(test.name)}{skipped}"

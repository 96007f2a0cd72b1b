"""The tests of a document, those with a matrix once for each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from koalesce.records import dataclass
from koalesce.spec.matrix import Cell, axes_of, cells_of
from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Position, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a test of a spec comes from: its index in the document, its cell, and the values of its variables known at load."""

    index: int
    cell: Cell | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def matrix(self) -> Mapping[str, Any]:
        """The values of its own axes."""
        return self.cell.values if self.cell is not None else {}


def origins_of(data: Mapping[str, Any], known: Mapping[str, Any], source: Source) -> tuple[list[Origin], list[Problem]]:
    """The origin of each test to be, in the document's order, and what is wrong with the matrices.

    A test whose matrix can't be read is there once, so that the rest of it is checked too.
    """
    tests = data.get("tests")
    origins: list[Origin] = []
    problems: list[Problem] = []
    for index, test in enumerate(tests if isinstance(tests, list) else []):
        cells: list[Cell] = []
        if isinstance(test, dict) and "matrix" in test:
            where = ("tests", index, "matrix")
            cells, found = cells_of(test["matrix"], known, source, where, taken=axes_of(data.get("matrix")))
            problems += found
        origins += [Origin(index=index, cell=cell) for cell in cells] or [Origin(index=index)]
    return origins, problems


def expanded(data: Mapping[str, Any], origins: Sequence[Origin]) -> dict[str, Any]:
    """The document with a test for each origin, named with its cell."""
    tests = data.get("tests")
    if not isinstance(tests, list):
        return dict(data)
    return {**data, "tests": [_named(tests[origin.index], origin.cell) for origin in origins]}


def _named(test: Any, cell: Cell | None) -> Any:
    if cell is None or not isinstance(test, dict) or not isinstance(test.get("name"), str):
        return test
    return {**test, "name": f"{test['name']} [{cell}]"}


class ExpandedSource(Source):
    """A source whose list of tests was expanded: paths of the expanded list are taken to those of the document."""

    origins: Sequence[Origin] = ()

    @classmethod
    def of(cls, source: Source, origins: Sequence[Origin]) -> ExpandedSource:
        """The same source, for paths in which tests are counted as `origins` has them."""
        expanded = cls(source.path, source.text, source.document, source.shifts)
        object.__setattr__(expanded, "origins", tuple(origins))
        return expanded

    def problem(
        self, position: Position, message: str, *, where: Sequence[str | int] = (), hint: str | None = None
    ) -> Problem:
        """A problem at a place of the file."""
        return Source.problem(self, position, message, where=self._written_at(where), hint=hint)

    def locate(self, where: Sequence[str | int], *, key: bool = False) -> Position:
        """Where a path of the expanded document stands in the file."""
        return Source.locate(self, self._written_at(where), key=key)

    def _written_at(self, where: Sequence[str | int]) -> Path:
        match tuple(where):
            case ("tests", int(number), *rest) if number < len(self.origins):
                return ("tests", self.origins[number].index, *rest)
            case same:
                return same

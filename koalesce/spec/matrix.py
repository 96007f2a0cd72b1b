"""`matrix`: the same test, or the same spec, once for each combination of values."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from koalesce.expressions import has_expression
from koalesce.records import dataclass
from koalesce.spec.source import Source
from koalesce.spec.variables import fill_in_known
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

MOST_CELLS = 256
_LISTS = ("include", "exclude")


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination: a value for each axis, in the order in which the axes are written."""

    values: Mapping[str, Any]

    def __str__(self) -> str:
        return ", ".join(f"{axis}={shown_value(value)}" for axis, value in self.values.items())

    @property
    def short(self) -> str:
        """Its values alone."""
        return "-".join(shown_value(value) for value in self.values.values())


def shown_value(value: Any) -> str:
    """A value in a cell's name: as YAML has it; of a map its `name`."""
    if isinstance(value, Mapping):
        value = value["name"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def axes_of(written: Any) -> list[str]:
    """The names of a matrix's axes; those of its first included cell where it has nothing else."""
    if not isinstance(written, dict):
        return []
    axes = [name for name in written if name not in _LISTS]
    include = written.get("include")
    if axes or not isinstance(include, list) or not include or not isinstance(include[0], dict):
        return axes
    return list(include[0])


def cells_of(
    written: Any, known: Mapping[str, Any], source: Source, where: Path, *, taken: Collection[str] = ()
) -> tuple[list[Cell], list[Problem]]:
    """The cells of a matrix, in the order of its axes (the last one changes fastest), and what is wrong with it.

    `known` is the scope of what has its value before anything runs; `taken` are axes of the spec, for the matrix of a test. What
    isn't a list where one must be is left to the model to say.
    """
    if not isinstance(written, dict) or not all(isinstance(value, list | str) for value in written.values()):
        return [], []
    reading = _Reading(fill_in_known(written, known), source, where)
    reading.check(taken)
    return ([], reading.problems) if reading.problems else (reading.cells(), reading.problems)


class _Reading:
    def __init__(self, written: Mapping[str, Any], source: Source, where: Path) -> None:
        self.problems: list[Problem] = []
        self._written = written
        self._axes = axes_of(written)
        self._source = source
        self._where = where

    def check(self, taken: Collection[str]) -> None:
        """Say everything that is wrong."""
        if not self._axes:
            return self._say((), "a matrix without an axis; write {axis: [value, …]}")
        for axis in self._axes:
            if axis in taken:
                self._say(
                    (axis,), f'the spec\'s own matrix has an axis "{axis}"', key=True, hint="call this one otherwise"
                )
            if axis in self._written:
                self._values(axis)
        for field in _LISTS:
            for index, partial in enumerate(self._list(field)):
                self._partial(field, index, partial)
        if not self.problems:
            self._cells()
        return None

    def cells(self) -> list[Cell]:
        """Those that are left, and those that are added."""
        return [Cell(values) for values in self._cells()]

    def _list(self, field: str) -> Sequence[Any]:
        found = self._written.get(field, [])
        if isinstance(found, str):
            self._say((field,), "its value isn't known before the run" if has_expression(found) else "expected a list")
            return []
        return found if isinstance(found, list) else []

    def _values(self, axis: str) -> None:
        values = self._written[axis]
        if isinstance(values, str):
            said = (
                "needs a value that is known before the run" if has_expression(values) else "expected a list of values"
            )
            return self._say((axis,), said)
        if not values:
            return self._say((axis,), "an axis without values: nothing would run", key=True)
        seen: list[str] = []
        for index, value in enumerate(values):
            if (problem := _unfit(value)) is not None:
                self._say((axis, index), problem)
            elif (text := shown_value(value)) in seen:
                self._say((axis, index), f"{text} is there twice")
            else:
                seen.append(text)
        return None

    def _partial(self, field: str, index: int, partial: Any) -> None:
        """An item of include or exclude: a map of axes."""
        if not isinstance(partial, dict) or not partial:
            return self._say((field, index), "a map of axes with their values, such as {axis: value}")
        for axis, value in partial.items():
            if axis not in self._axes:
                self._say((field, index, axis), "no axis of this matrix", key=True, hint=did_you_mean(axis, self._axes))
            elif field == "include" and (problem := _unfit(value)) is not None:
                self._say((field, index, axis), problem)
        if field == "include" and (missing := [axis for axis in self._axes if axis not in partial]):
            self._say((field, index), f"an included cell has a value for each axis; {', '.join(missing)} is missing")
        return None

    def _cells(self) -> list[dict[str, Any]]:
        axes = [axis for axis in self._axes if axis in self._written]
        found = [
            dict(zip(axes, values, strict=True))
            for values in itertools.product(*(self._written[axis] for axis in axes))
        ]
        found = found if axes else []
        for index, partial in enumerate(self._list("exclude")):
            left = [cell for cell in found if not _fits(cell, partial)]
            if len(left) == len(found):
                self._say(("exclude", index), "no combination is like this: it excludes nothing")
            found = left
        for index, cell in enumerate(self._list("include")):
            ordered = {axis: cell[axis] for axis in self._axes}
            if ordered in found:
                self._say(("include", index), "this combination is there already")
            found.append(ordered)
        if not found:
            self._say((), "every combination is excluded: nothing would run")
        if len(found) > MOST_CELLS:
            self._say((), f"{len(found)} combinations; at most {MOST_CELLS} are run")
        return found

    def _say(self, path: Path, message: str, *, key: bool = False, hint: str | None = None) -> None:
        where = (*self._where, *path)
        self.problems.append(self._source.problem_at(where, message, key=key or not path, hint=hint))


def _fits(cell: Mapping[str, Any], partial: Mapping[str, Any]) -> bool:
    return all(cell[axis] == value or _is_named(cell[axis], value) for axis, value in partial.items())


def _is_named(value: Any, name: Any) -> bool:
    """Whether a value that is a map has this name."""
    return isinstance(value, Mapping) and value.get("name") == name


def _unfit(value: Any) -> str | None:
    """Why something can't be the value of an axis; None if it can."""
    if isinstance(value, Mapping):
        named = isinstance(value.get("name"), str) and value["name"]
        return None if named else "a map is shown by its name in reports: give it a name"
    if isinstance(value, list):
        return "a list can't be shown in reports; make it a map with a name, such as {name: …, items: […]}"
    if isinstance(value, str) and ("\n" in value or not value.strip()):
        return "a value stands in the names of reports: one line that isn't empty"
    return None


def in_cells(found: Sequence[tuple[Cell | None, Sequence[Problem]]]) -> Iterator[Problem]:
    """Problems of several cells of one spec: those of all cells as they are, those of some with the cell that has them."""
    said: set[Problem] = set()
    for cell, problems in found:
        for problem in problems:
            if problem in said:
                continue
            said.add(problem)
            is_common = all(problem in others for _, others in found)
            yield problem if is_common else replace(problem, message=f"{problem.message} (with {cell})")

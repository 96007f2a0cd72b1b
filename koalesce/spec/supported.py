"""What the language can say and this version can't do yet: said at once, with its place, instead of passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem


def _given(value: Any) -> bool:
    """Anything but what an empty or missing field means."""
    return value not in (None, False, 0, "", [], {})


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A field (`*` stands for any item of a list or a map) whose values of some kind can't be served."""

    path: tuple[str, ...]
    applies: Callable[[Any], bool] = _given
    what: str = ""


_CLUSTER = (Unsupported(("etcd", "endpoints"), what="an etcd that is there already is"),)

UNSUPPORTED: tuple[Unsupported, ...] = (
    *(replace(row, path=(*where, *row.path)) for where in (("cluster",), ("clusters", "*")) for row in _CLUSTER),
)


def unsupported_problems(data: Any, source: Source) -> list[Problem]:
    """A problem for each use of something that this version can't do."""
    problems: list[Problem] = []
    for row in UNSUPPORTED:
        for path, value in _matching(data, row.path):
            if row.applies(value):
                subject = f"{row.what} " if row.what else ""
                problems.append(source.problem_at(path, f"{subject}not supported by this version", key=not row.what))
    return problems


def _matching(data: Any, pattern: tuple[str, ...], done: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that a pattern leads to, with its path."""
    if not pattern:
        yield done, data
        return
    first, rest = pattern[0], pattern[1:]
    if first == "*" and isinstance(data, list):
        for index, item in enumerate(data):
            yield from _matching(item, rest, (*done, index))
    elif first == "*" and isinstance(data, dict):
        for name, item in data.items():
            yield from _matching(item, rest, (*done, name))
    elif isinstance(data, dict) and first in data:
        yield from _matching(data[first], rest, (*done, first))

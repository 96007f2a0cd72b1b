"""Parts of a jsonpath, and what each selects of a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from koalesce.matching.mismatch import member
from koalesce.records import dataclass

Select = Callable[[Any], Iterable[Any]]
Spread = Literal["one", "filtered", "many"]


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a path: how it is written after its prefix, what it selects of one value, how much that can be, and by which key."""

    text: str
    select: Select
    spread: Spread = "one"
    name: str | None = None  # of the key that it selects
    parts: tuple[
        Segment, ...
    ] = ()  # of a union: first what the first of them selects of all values, then what the second does
    asked: tuple[Chain, ...] = ()  # of a filter: what elements must have for it to say something of them

    def select_all(self, values: Iterable[Any]) -> list[Any]:
        """What it selects of several values, in kubectl's order."""
        found = list(values)
        if self.parts:
            return [hit for part in self.parts for hit in part.select_all(found)]
        return [hit for value in found for hit in self.select(value)]


@dataclass(frozen=True, slots=True)
class Chain:
    """Segments in a row; `rooted`: written with `$`, so that a range doesn't change where it begins."""

    segments: tuple[Segment, ...]
    rooted: bool = False

    def find(self, document: Any) -> list[Any]:
        """The values that the segments lead to, in order."""
        found = [document]
        for segment in self.segments:
            found = segment.select_all(found)
        return found


@dataclass(frozen=True, slots=True)
class Range:
    """`{range PATH}…{end}`."""

    over: Chain
    body: tuple[Node, ...]


Node = str | Chain | Range


def named(name: str) -> Segment:
    """The value of a key."""

    def select(value: Any) -> Iterable[Any]:
        return (value[name],) if isinstance(value, Mapping) and name in value else ()

    return Segment(member("", name), select, name=name)


def indexed(index: int) -> Segment:
    """An element of a list, from its end if negative."""

    def select(value: Any) -> Iterable[Any]:
        return (value[index],) if isinstance(value, list) and -len(value) <= index < len(value) else ()

    return Segment(f"[{index}]", select)


def sliced(text: str, bounds: re.Match[str]) -> Segment:
    """Some elements of a list: `start:stop:step`."""
    start, stop, step = (int(part) if part else None for part in bounds.groups())
    wanted = slice(start, stop, step)
    return Segment(f"[{text}]", lambda value: value[wanted] if isinstance(value, list) else (), "many")


def union(text: str, parts: Iterable[Segment]) -> Segment:
    """Several parts, one after the other."""
    return Segment(f"[{text}]", lambda value: (), "many", parts=tuple(parts))


def wildcard(text: str) -> Segment:
    """All values of a list or map."""
    return Segment(text, children, "many")


def descend(value: Any) -> Iterator[Any]:
    """The value and all that is below it."""
    yield value
    for child in children(value):
        yield from descend(child)


def children(value: Any) -> Iterable[Any]:
    """The values of a list or map; none of anything else."""
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()

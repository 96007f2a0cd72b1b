"""What changed from one value to another, path by path; and values without what doesn't count."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from koalesce.matching.diff import render
from koalesce.matching.equality import equal
from koalesce.matching.jsonpath import compile_path
from koalesce.matching.mismatch import MISSING, Mismatch, member


def changes(old: Any, new: Any) -> list[Mismatch]:
    """Each innermost difference: `expected` is what was, `actual` what is; none if the values are equal."""
    return list(_changes(old, new, ""))


def _changes(old: Any, new: Any, path: str) -> Iterator[Mismatch]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(key, MISSING), new.get(key, MISSING), member(path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            was = old[index] if index < len(old) else MISSING
            now = new[index] if index < len(new) else MISSING
            yield from _changes(was, now, member(path, index))
    elif old is not new and (old is MISSING or new is MISSING or not equal(old, new)):
        yield Mismatch(path, render(old), render(new), f"changed from {render(old)} to {render(new)}")


def check_ignorable(text: str) -> None:
    """Raise ValueError if a path doesn't end with something that can be left out."""
    path = compile_path(text)
    if path.is_template or path.last is None or not _is_removable(path.last):
        raise ValueError(f"{text} can't be left out: a path here ends with a field, or with [*]")


def without(document: Any, paths: Iterable[str]) -> Any:
    """A copy of a document without what the paths lead to."""
    found = copy.deepcopy(document)
    for text in paths:
        path = compile_path(text)
        for holder in path.holders(found):
            if path.last is None or not isinstance(holder, dict | list):
                continue
            if path.last.name is None:
                holder.clear()
            elif isinstance(holder, dict):
                holder.pop(path.last.name, None)
    return found


def _is_removable(segment: Any) -> bool:
    return segment.name is not None or segment.text in ("[*]", ".*")

"""When JSON values are equal, and what is said when they aren't."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from koalesce.matching.diff import render
from koalesce.matching.mismatch import Mismatch


def equal(expected: Any, actual: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, but true isn't 1, and "3" isn't 3."""
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return expected.keys() == actual.keys() and all(equal(expected[key], actual[key]) for key in expected)
    if isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
        return len(expected) == len(actual) and all(map(equal, expected, actual))
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return expected == actual
    return type(expected) is type(actual) and bool(expected == actual)


def unequal(expected: Any, actual: Any) -> Mismatch:
    """The mismatch of two values that aren't equal, with a hint where only the quotes differ."""
    said = f"is {render(actual)}, expected {render(expected)}"
    if isinstance(expected, str) != isinstance(actual, str) and _bare(expected) == _bare(actual) is not None:
        said += f" (a {kind_of(expected)}, not a {kind_of(actual)}: mind the quotes)"
    return Mismatch("", render(expected), render(actual), said)


def kind_of(value: Any) -> str:
    """What people call the type of a JSON value: number, string, map."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", dict: "map", list: "list"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "map")


def _bare(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def canonical(value: Any) -> Hashable:
    """Something that can be hashed, and is the same for values that are equal."""
    if isinstance(value, Mapping):
        return ("map", frozenset((key, canonical(child)) for key, child in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(canonical(child) for child in value))
    return (kind_of(value), value)

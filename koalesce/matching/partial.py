"""Partial match: what an author wrote of an object against all of it.

A map matches a map that has at least its keys; a list matches a list of equal length, element by element; null matches null and
what isn't there. A map that consists of operators only (`{gt: 3}`, `{any: {type: Ready}}`) is a matcher instead; to match a map whose keys
happen to be such names, write `{equals: {…}}` for all of it, or `{contains: {…}}` for a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from koalesce.matching import operators
from koalesce.matching.diff import render
from koalesce.matching.equality import equal, unequal
from koalesce.matching.mismatch import MISSING, Mismatch, member


def partial_match(expected: Any, actual: Any) -> list[Mismatch]:
    """The differences that make `actual` not match `expected`, with paths, in the order of `expected`; none if it matches."""
    if operators.is_operators(expected):
        return operators.apply(expected, actual, partial_match)
    if isinstance(expected, Mapping):
        return match_members(expected, actual)
    if isinstance(expected, list):
        return _match_list(expected, actual)
    if expected is None:
        return [] if actual is None or actual is MISSING else [unequal(None, actual)]
    return [] if equal(expected, actual) else [unequal(expected, actual)]


def match_members(expected: Mapping[str, Any], actual: Any) -> list[Mismatch]:
    """As `partial_match`, but the keys of this map are never operators (an object's own level)."""
    if actual is MISSING:
        lacking = any(partial_match(wanted, MISSING) for wanted in expected.values()) or not expected
        return [_missing(expected)] if lacking else []
    if not isinstance(actual, Mapping):
        return [_not_a_map(expected, actual)]
    return [
        mismatch.under(member("", key))
        for key, wanted in expected.items()
        for mismatch in partial_match(wanted, actual.get(key, MISSING))
    ]


def problems(expected: Any) -> list[str]:
    """What is wrong with what an author wrote (a bad regular expression, a count below 0), as sentences."""
    if operators.is_operators(expected):
        return operators.problems(expected, problems)
    if isinstance(expected, Mapping):
        return member_problems(expected)
    members = enumerate(expected) if isinstance(expected, list) else ()
    return [operators.below(member("", index), problem) for index, value in members for problem in problems(value)]


def member_problems(expected: Mapping[str, Any]) -> list[str]:
    """As `problems`, of what `match_members` takes."""
    return [
        operators.below(member("", str(key)), problem) for key, value in expected.items() for problem in problems(value)
    ]


def _match_list(expected: list[Any], actual: Any) -> list[Mismatch]:
    if not isinstance(actual, list):
        return [_missing(expected)] if actual is MISSING else [unequal(expected, actual)]
    if len(expected) != len(actual):
        said = (
            f"has {len(actual)} elements, expected exactly {len(expected)}: {render(actual)}"
            " (for a part of a list write {contains: …}, {any: …} or {all: …})"
        )
        return [Mismatch("", f"{len(expected)} elements", f"{len(actual)} elements", said)]
    return [
        mismatch.under(member("", index))
        for index, (wanted, found) in enumerate(zip(expected, actual, strict=True))
        for mismatch in partial_match(wanted, found)
    ]


def _missing(expected: Any) -> Mismatch:
    return Mismatch("", render(expected), "missing", f"is missing, expected {render(expected)}")


def _not_a_map(expected: Mapping[str, Any], actual: Any) -> Mismatch:
    hints = [operators.suggestion(str(key)) for key in expected if key not in operators.OPERATORS]
    said = f"is {render(actual)}, expected a map with {render(expected)}{next(filter(None, hints), '')}"
    return Mismatch("", render(expected), render(actual), said)

"""Operators on lists: all, any, none, so many, in this order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from koalesce.matching.diff import render
from koalesce.matching.mismatch import Mismatch, member
from koalesce.matching.operator import Match, Operator, Problems, is_unresolved

_NAMING = frozenset({".type", ".name", ".key", ".metadata.name", ""})


def every(pattern: Any, value: Any, match: Match) -> list[Mismatch]:
    """Each element matches, and there is one."""
    expected = f"all elements to match {render(pattern)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    if not elements:
        return [Mismatch("", expected, "no elements", f"is empty, so there is nothing to check; expected {expected}")]
    return [mismatch.under(path) for path, item in elements for mismatch in match(pattern, item)]


def some(pattern: Any, value: Any, match: Match) -> list[Mismatch]:
    """At least one element matches."""
    expected = f"an element that matches {render(pattern)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    looked = [(path, match(pattern, item)) for path, item in elements]
    if any(not found for _, found in looked):
        return []
    if not looked:
        return [Mismatch("", expected, "no elements", f"is empty, expected {expected}")]
    path, nearest = min(looked, key=lambda one: distance(one[1]))
    said = "; ".join(str(mismatch.under(path)) for mismatch in nearest[:3])
    return [
        Mismatch(
            "", expected, f"{len(looked)} others", f"has no element that matches {render(pattern)}; nearest: {said}"
        )
    ]


def no_element(pattern: Any, value: Any, match: Match) -> list[Mismatch]:
    """No element matches."""
    expected = f"no element that matches {render(pattern)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    return [
        Mismatch(path, expected, render(item), f"is {render(item)}, expected {expected}")
        for path, item in elements
        if not match(pattern, item)
    ]


def in_order(patterns: Any, value: Any, match: Match) -> list[Mismatch]:
    """Elements that match the patterns come in this order, others between them allowed."""
    expected = f"elements in the order {render(patterns)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    at = 0
    for pattern in patterns:
        hit = next((index for index in range(at, len(elements)) if not match(pattern, elements[index][1])), None)
        if hit is None:
            where = f"after {elements[at - 1][0]}" if at else "at all"
            said = f"has no element that matches {render(pattern)} {where}, expected {expected}"
            return [Mismatch("", expected, render(value), said)]
        at = hit + 1
    return []


def counted(word: str, holds: Callable[[int, int], bool]) -> Operator:
    """An operator on how many elements match; its operand is (number, pattern)."""

    def phrase(operand: Any) -> str:
        number, pattern = operand
        return f"{word} {number} elements to match {render(pattern)}"

    def check(operand: Any, value: Any, match: Match) -> list[Mismatch]:
        number, pattern = operand
        elements = _elements(value, phrase(operand))
        if isinstance(elements, Mismatch):
            return [elements]
        hits = [path for path, item in elements if not match(pattern, item)]
        if holds(len(hits), number):
            return []
        said = f"{len(hits)} of {len(elements)} elements match" + (f" ({', '.join(hits[:10])})" if hits else "")
        return [Mismatch("", phrase(operand), str(len(hits)), f"{said}, expected {phrase(operand)}")]

    def problem(operand: Any, nested: Problems) -> list[str]:
        number, pattern = operand
        found = [] if is_count(number) else [f"{render(number)} is no count; a count is 0 or more"]
        return found + nested(pattern)

    return Operator(phrase, check, problem)


def patterns_problems(operand: Any, nested: Problems) -> list[str]:
    """What is wrong with a list of patterns."""
    if not isinstance(operand, list) or not operand:
        return ["needs a list that isn't empty"]
    return [problem for pattern in operand for problem in nested(pattern)]


def distance(mismatches: Sequence[Mismatch]) -> int:
    """How far a candidate is from what was looked for: what names it counts more than what it says."""
    return sum(4 if mismatch.path in _NAMING else 1 for mismatch in mismatches)


def _elements(value: Any, expected: str) -> list[tuple[str, Any]] | Mismatch:
    """The elements of a list, or values of a map, with their paths; or why there are none to look at."""
    if isinstance(value, list):
        return [(member("", index), item) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return [(member("", str(key)), item) for key, item in value.items()]
    return Mismatch("", expected, render(value), f"is {render(value)}, which is no list; expected {expected}")


def is_count(value: Any) -> bool:
    """Whether an operand is a count, or will be one."""
    return (isinstance(value, int) and not isinstance(value, bool) and value >= 0) or is_unresolved(value)

"""Operators on lists (all, any, none, so many, in this order), and several expectations of one value (any of them, all of them)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from koalesce.matching.diff import render
from koalesce.matching.flaws import Flaw
from koalesce.matching.mismatch import Mismatch, member
from koalesce.matching.operator import Match, Operator, Problems, flaws, is_unresolved

Element = tuple[str | int, Any]

_NAMING = frozenset({".type", ".name", ".key", ".metadata.name", ""})


def every(pattern: Any, value: Any, match: Match) -> list[Mismatch]:
    """Each element matches, and there is one."""
    expected = f"all elements to match {render(pattern)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    if not elements:
        return [Mismatch("", expected, "no elements", f"is empty, so there is nothing to check; expected {expected}")]
    return [mismatch.under(member("", key)) for key, item in elements for mismatch in match.below(key)(pattern, item)]


def some(pattern: Any, value: Any, match: Match) -> list[Mismatch]:
    """At least one element matches."""
    expected = f"an element that matches {render(pattern)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    looked = [(member("", key), match.below(key)(pattern, item)) for key, item in elements]
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
    """No element matches, though one has something of what is asked for; null has no elements."""
    expected = f"no element that matches {render(pattern)}"
    elements = _elements([] if value is None else value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    found = [
        Mismatch(member("", key), expected, render(item), f"is {render(item)}, expected {expected}")
        for key, item in elements
        if not match.below(key)(pattern, item)
    ]
    return found or _doubts(pattern, elements, expected, match)


def in_order(patterns: Any, value: Any, match: Match) -> list[Mismatch]:
    """Elements that match the patterns come in this order, others between them allowed."""
    expected = f"elements in the order {render(patterns)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    at = 0
    for pattern in patterns:
        hit = next((index for index in range(at, len(elements)) if not _misses(pattern, elements[index], match)), None)
        if hit is None:
            where = f"after {member('', elements[at - 1][0])}" if at else "at all"
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
        elements = _elements([] if value is None else value, phrase(operand))
        if isinstance(elements, Mismatch):
            return [elements]
        hits = [member("", element[0]) for element in elements if not _misses(pattern, element, match)]
        if holds(len(hits), number):
            return [] if hits else _doubts(pattern, elements, phrase(operand), match)
        said = f"{len(hits)} of {len(elements)} elements match" + (f" ({', '.join(hits[:10])})" if hits else "")
        return [Mismatch("", phrase(operand), str(len(hits)), f"{said}, expected {phrase(operand)}")]

    def problem(operand: Any, nested: Problems) -> list[Flaw]:
        return flaws(None if is_count(operand[0]) else f"{render(operand[0])} is no count; a count is 0 or more")

    return Operator(phrase, check, problem)


def any_of(patterns: Any, value: Any, match: Match) -> list[Mismatch]:
    """At least one of several patterns matches the value."""
    looked = [match(pattern, value) for pattern in patterns]
    if not all(looked):
        return []
    nearest = min(looked, key=distance)
    said = "; ".join(str(mismatch) for mismatch in nearest[:3])
    expected = f"one of {len(patterns)} alternatives"
    return [Mismatch("", expected, "none of them", f"is like none of {len(patterns)} alternatives; nearest: {said}")]


def all_of(patterns: Any, value: Any, match: Match) -> list[Mismatch]:
    """Each of several patterns matches the value."""
    return [mismatch for pattern in patterns for mismatch in match(pattern, value)]


def patterns_problems(operand: Any, nested: Problems) -> list[Flaw]:
    """What is wrong with a list of patterns."""
    if not isinstance(operand, list) or not operand:
        return flaws("needs a list that isn't empty")
    return [flaw.under(index) for index, pattern in enumerate(operand) for flaw in nested(pattern)]


def distance(mismatches: Sequence[Mismatch]) -> int:
    """How far a candidate is from what was looked for: what names it counts more than what it says."""
    return sum(4 if mismatch.path in _NAMING else 1 for mismatch in mismatches)


def _doubts(pattern: Any, elements: Sequence[Element], expected: str, match: Match) -> list[Mismatch]:
    """Why it proves nothing that none of the elements matches."""
    said = match.unseen(pattern, [item for _, item in elements])
    return [Mismatch("", expected, "nothing of it", said)] if said else []


def _misses(pattern: Any, element: Element, match: Match) -> list[Mismatch]:
    return match.below(element[0])(pattern, element[1])


def _elements(value: Any, expected: str) -> list[Element] | Mismatch:
    """The elements of a list, or values of a map, with their indexes or keys; or why there are none to look at."""
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    return Mismatch("", expected, render(value), f"is {render(value)}, which is no list; expected {expected}")


def is_count(value: Any) -> bool:
    """Whether an operand is a count, or will be one."""
    return (isinstance(value, int) and not isinstance(value, bool) and value >= 0) or is_unresolved(value)

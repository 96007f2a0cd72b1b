"""Lists as Kubernetes merges them: elements told apart by keys, or sets of plain values.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from koalesce.matching.diff import render
from koalesce.matching.equality import equal
from koalesce.matching.mismatch import Mismatch, member
from koalesce.matching.operator import Match
from koalesce.matching.quantifiers import distance
from koalesce.matching.shapes import Shape

_MOST = 10


def is_keyed(shape: Shape, expected: Sequence[Any]) -> bool:
    """Whether a list is compared by keys: its type has some, and each element that was written says the first as a plain value."""
    return bool(shape.keys) and all(
        isinstance(item, Mapping) and isinstance(item.get(shape.keys[0]), str | int) for item in expected
    )


def match_by_keys(keys: Sequence[str], expected: Sequence[Any], actual: Sequence[Any], match: Match) -> list[Mismatch]:
    """The differences of the elements that were written from those that have the same keys."""
    return [mismatch for wanted in expected for mismatch in _match_one(keys, wanted, actual, match)]


def match_set(expected: Sequence[Any], actual: Sequence[Any], match: Match) -> list[Mismatch]:
    """The elements that were written and aren't there."""
    return [
        Mismatch(
            "",
            f"the element {render(wanted)}",
            render(actual),
            f"is {render(actual)}, expected the element {render(wanted)}",
        )
        for wanted in expected
        if all(match.below(index)(wanted, item) for index, item in enumerate(actual))
    ]


def _match_one(keys: Sequence[str], wanted: Mapping[str, Any], actual: Sequence[Any], match: Match) -> list[Mismatch]:
    given = [key for key in keys if isinstance(wanted.get(key), str | int)]
    looked = [
        [mismatch.under(member("", index)) for mismatch in match.below(index)(wanted, item)]
        for index, item in enumerate(actual)
        if isinstance(item, Mapping) and all(key in item and equal(wanted[key], item[key]) for key in given)
    ]
    if looked:
        return min(looked, key=distance)
    named = " and ".join(f"{key} {render(wanted[key])}" for key in given)
    there = [render(item.get(keys[0])) for item in actual[:_MOST] if isinstance(item, Mapping)]
    said = (
        f"has no element with {named}, there are: {', '.join(there)}"
        if there
        else f"is empty, expected an element with {named}"
    )
    return [Mismatch("", f"an element with {named}", ", ".join(there) or "no elements", said)]

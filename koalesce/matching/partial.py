"""Partial match: what an author wrote of an object against all of it.

A map matches a map that has at least its keys. A list of built-in kinds that Kubernetes merges by keys (containers by name, ports by
number and protocol, conditions by type) matches a list that has such elements, in any order, others among them; every other list, and
an empty one, has to be of equal length, and matches element by element. null matches null and what isn't there. A map that consists of
operators only (`{gt: 3}`, `{any: {type: Ready}}`) is a matcher instead; to match a map whose keys happen to be such names, write
`{equals: {…}}` for all of it, or `{contains: {…}}` for a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from koalesce.matching import operators
from koalesce.matching.diff import render
from koalesce.matching.equality import equal, unequal
from koalesce.matching.flaws import Flaw
from koalesce.matching.keyed import is_keyed, match_by_keys, match_set
from koalesce.matching.mismatch import MISSING, Mismatch, member
from koalesce.matching.shapes import Shape
from koalesce.matching.unseen import unseen
from koalesce.records import dataclass


@dataclass(frozen=True, slots=True)
class Matching:
    """A comparison. `shape` is the type of the value, where it's known; `now` gives the time of the look, for ages.

    That something isn't there proves nothing where what should hold it isn't there either, unless that is a field that Kubernetes
    knows (of a type in `shape`) or the author says so (`may_not_exist`).
    """

    shape: Shape | None = None
    now: Callable[[], datetime] | None = None
    may_not_exist: bool = False
    is_object: bool = False  # the value is a whole object
    is_status: bool = False
    may_lack: bool = False  # that no value has a field which is asked for is nothing to wonder about

    def __call__(self, expected: Any, actual: Any) -> list[Mismatch]:
        """The differences that make `actual` not match `expected`, with paths, in the order of `expected`; none if it matches."""
        if operators.is_operators(expected):
            return operators.apply(expected, actual, self)
        if isinstance(expected, Mapping):
            return self.members(expected, actual)
        if isinstance(expected, list):
            return self._list(expected, actual)
        if expected is None:
            return [] if actual is None or actual is MISSING else [unequal(None, actual)]
        return [] if equal(expected, actual) else [unequal(expected, actual)]

    def members(self, expected: Mapping[str, Any], actual: Any) -> list[Mismatch]:
        """As a call, but the keys of this map are never operators (an object's own level)."""
        if actual is MISSING or (self.is_status and actual == {}):
            return self._members_of_nothing(expected)
        if not isinstance(actual, Mapping):
            return [_not_a_map(expected, actual)]
        return [
            mismatch.under(member("", key))
            for key, wanted in expected.items()
            for mismatch in self.below(key)(wanted, actual.get(key, MISSING))
        ]

    def below(self, key: str | int) -> Matching:
        """The comparison of what is at a key or an index."""
        shape = None
        if self.shape is not None:
            shape = self.shape.element if isinstance(key, int) else self.shape.field(key)
        return replace(self, shape=shape, is_object=False, is_status=self.is_object and key == "status")

    def unseen(self, pattern: Any, elements: Sequence[Any]) -> str | None:
        """Why it proves nothing that no element matches, as a clause; None if that is a look at something."""
        if self.may_not_exist or self.may_lack:
            return None
        lacking = unseen(pattern, elements, self, self.shape.element if self.shape else None)
        if lacking is None:
            return None
        have = "the only element hasn't" if len(elements) == 1 else f"none of {len(elements)} elements has"
        return f"{have} {lacking}, so that none matches proves nothing; say mayNotExist: true if that is meant"

    def _members_of_nothing(self, expected: Mapping[str, Any]) -> list[Mismatch]:
        """Of a map that isn't there, only what is to be absent can hold."""
        if not expected or any(self.below(key)(wanted, MISSING) for key, wanted in expected.items()):
            return [_missing(expected)]
        if self.may_not_exist or (self.shape is not None and self.shape.text != "any" and not self.is_status):
            return []
        what = "is missing, so what isn't in it proves nothing"
        return [Mismatch("", render(expected), "missing", f"{what}; say mayNotExist: true if it may be missing")]

    def _list(self, expected: list[Any], actual: Any) -> list[Mismatch]:
        if not isinstance(actual, list):
            return [_missing(expected)] if actual is MISSING else [unequal(expected, actual)]
        if self.shape is not None and expected:
            if is_keyed(self.shape, expected):
                return match_by_keys(self.shape.keys, expected, actual, self)
            if self.shape.is_set:
                return match_set(expected, actual, self)
        if len(expected) != len(actual):
            said = (
                f"has {len(actual)} elements, expected exactly {len(expected)}: {render(actual)}"
                " (for a part of a list write {contains: …}, {any: …} or {all: …})"
            )
            return [Mismatch("", f"{len(expected)} elements", f"{len(actual)} elements", said)]
        return [
            mismatch.under(member("", index))
            for index, (wanted, found) in enumerate(zip(expected, actual, strict=True))
            for mismatch in self.below(index)(wanted, found)
        ]


partial_match = Matching()  # of values about whose type and time nothing is known
match_members = partial_match.members


def problems(expected: Any) -> list[Flaw]:
    """What is wrong with what an author wrote (a bad regular expression, a count below 0)."""
    if operators.is_operators(expected):
        return operators.problems(expected, problems)
    if isinstance(expected, Mapping):
        return member_problems(expected)
    members = enumerate(expected) if isinstance(expected, list) else ()
    return [flaw.under(index) for index, value in members for flaw in problems(value)]


def member_problems(expected: Mapping[str, Any]) -> list[Flaw]:
    """As `problems`, of what `match_members` takes."""
    return [flaw.under(str(key)) for key, value in expected.items() for flaw in problems(value)]


def _missing(expected: Any) -> Mismatch:
    return Mismatch("", render(expected), "missing", f"is missing, expected {render(expected)}")


def _not_a_map(expected: Mapping[str, Any], actual: Any) -> Mismatch:
    hints = [operators.suggestion(str(key)) for key in expected if key not in operators.OPERATORS]
    said = f"is {render(actual)}, expected a map with {render(expected)}{next(filter(None, hints), '')}"
    return Mismatch("", render(expected), render(actual), said)

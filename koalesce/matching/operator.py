"""What an operator is made of, and the plain ones: a phrase, and whether it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from koalesce.matching.diff import render
from koalesce.matching.flaws import Flaw
from koalesce.matching.mismatch import Mismatch
from koalesce.records import dataclass


class Match(Protocol):
    """Compares a pattern with a value: `partial.Matching`, which in turn uses the operators."""

    def __call__(self, expected: Any, actual: Any) -> list[Mismatch]:
        """The differences."""

    def below(self, key: str | int) -> Match:
        """The comparison of what is at a key or an index of the value."""

    def unseen(self, pattern: Any, elements: Sequence[Any]) -> str | None:
        """Why it proves nothing that none of a value's elements matches, as a clause; None if that is a look at something."""

    @property
    def now(self) -> Callable[[], datetime] | None:
        """The time of the look, where one is known."""


Problems = Callable[[Any], list[Flaw]]


class Unfit(Exception):  # not an error: a value that an operator can't look at
    """The value is of a kind that the operator says nothing about; the text is a clause about the value."""


@dataclass(frozen=True, slots=True)
class Operator:
    """`phrase(operand)` completes "expected …"; `check` gives the mismatches; `problem(operand)` is said at validation."""

    phrase: Callable[[Any], str]
    check: Callable[[Any, Any, Match], list[Mismatch]]
    problem: Callable[[Any, Problems], list[Flaw]]


def simple(
    phrase: Callable[[Any], str],
    holds: Callable[[Any, Any], bool],
    problem: Callable[[Any], str | None] = lambda operand: None,
) -> Operator:
    """An operator that either holds or doesn't; `holds` may raise Unfit."""
    return depending(phrase, lambda operand, value, match: holds(operand, value), problem)


def depending(
    phrase: Callable[[Any], str],
    holds: Callable[[Any, Any, Match], bool],
    problem: Callable[[Any], str | None],
) -> Operator:
    """As `simple`, where the comparison as a whole matters (its time)."""

    def check(operand: Any, value: Any, match: Match) -> list[Mismatch]:
        expected = phrase(operand)
        try:
            if holds(operand, value, match):
                return []
        except Unfit as unfit:
            return [Mismatch("", expected, render(value), f"is {render(value)}, {unfit}; expected {expected}")]
        return [Mismatch("", expected, render(value), f"is {render(value)}, expected {expected}")]

    return Operator(phrase, check, lambda operand, nested: flaws(problem(operand)))


def flaws(said: str | None) -> list[Flaw]:
    """A sentence as a flaw of the operand as a whole; none for None."""
    return [Flaw((), said)] if said else []


def whole(expected: str, value: Any) -> Mismatch:
    """The mismatch of a value as a whole."""
    return Mismatch("", expected, render(value), f"is {render(value)}, expected {expected}")


def is_unresolved(operand: Any) -> bool:
    """Whether an operand is text with an expression that isn't resolved yet."""
    return isinstance(operand, str) and "${{" in operand

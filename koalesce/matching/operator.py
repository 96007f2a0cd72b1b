"""What an operator is made of, and the plain ones: a phrase, and whether it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from koalesce.matching.diff import render
from koalesce.matching.mismatch import Mismatch

# Compares a pattern with a value: `partial.partial_match`, which in turn uses the operators.
Match = Callable[[Any, Any], list[Mismatch]]
Problems = Callable[[Any], list[str]]


class Unfit(Exception):  # not an error: a value that an operator can't look at
    """The value is of a kind that the operator says nothing about; the text is a clause about the value."""


@dataclass(frozen=True, slots=True)
class Operator:
    """`phrase(operand)` completes "expected …"; `check` gives the mismatches; `problem(operand)` is said at validation."""

    phrase: Callable[[Any], str]
    check: Callable[[Any, Any, Match], list[Mismatch]]
    problem: Callable[[Any, Problems], list[str]]


def simple(
    phrase: Callable[[Any], str],
    holds: Callable[[Any, Any], bool],
    problem: Callable[[Any], str | None] = lambda operand: None,
) -> Operator:
    """An operator that either holds or doesn't; `holds` may raise Unfit."""

    def check(operand: Any, value: Any, match: Match) -> list[Mismatch]:
        expected = phrase(operand)
        try:
            if holds(operand, value):
                return []
        except Unfit as unfit:
            return [Mismatch("", expected, render(value), f"is {render(value)}, {unfit}; expected {expected}")]
        return [Mismatch("", expected, render(value), f"is {render(value)}, expected {expected}")]

    return Operator(phrase, check, lambda operand, nested: [said] if (said := problem(operand)) else [])


def whole(expected: str, value: Any) -> Mismatch:
    """The mismatch of a value as a whole."""
    return Mismatch("", expected, render(value), f"is {render(value)}, expected {expected}")


def is_unresolved(operand: Any) -> bool:
    """Whether an operand is text with an expression that isn't resolved yet."""
    return isinstance(operand, str) and "${{" in operand

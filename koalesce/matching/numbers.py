"""Matchers of numbers: what of them could never hold, or would always, is said before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from koalesce.matching import operators
from koalesce.matching.diff import render
from koalesce.matching.equality import kind_of
from koalesce.matching.flaws import Flaw, refuse
from koalesce.matching.matcher import Matcher
from koalesce.matching.operator import is_unresolved

_EQUALITIES = ("equals", "notEquals")
_CHOICES = ("in", "notIn")
_JOINED = ("anyOf", "allOf")
_OTHERS = ("gt", "ge", "lt", "le", "absent", "exists")


def _fits_a_number(matcher: Matcher) -> Matcher:
    refuse(_flaws(matcher.operators()), matcher)
    return matcher


def _flaws(given: Mapping[str, Any]) -> Iterator[Flaw]:
    for name, operand in given.items():
        if is_unresolved(operand):
            continue
        if name in _EQUALITIES:
            yield from _of_a_value(operand, (name,))
        elif name in _CHOICES:
            for index, one in enumerate(operand):
                yield from _of_a_value(one, (name, index))
        elif name in _JOINED:
            for index, one in enumerate(operand):
                found = _flaws(one) if operators.is_operators(one) else _of_a_value(one, ())
                yield from (flaw.under(name, index) for flaw in found)
        elif name not in _OTHERS:
            yield Flaw((name,), f"{name} can't hold here: this is a number")


def _of_a_value(operand: Any, where: tuple[str | int, ...]) -> Iterator[Flaw]:
    if is_unresolved(operand) or (isinstance(operand, int | float) and not isinstance(operand, bool)):
        return
    hint = f"; did you mean {{in: {render(operand)}}}?" if isinstance(operand, list) else ""
    yield Flaw(where, f"the {kind_of(operand)} {render(operand)} can't match here: this is a number{hint}")


NumberMatcher = Annotated[Matcher, AfterValidator(_fits_a_number)]

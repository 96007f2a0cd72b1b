"""Whether a pattern can fit a type at all: fields that there aren't, values and operators of another kind than the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from koalesce.matching import operators
from koalesce.matching.diff import render
from koalesce.matching.equality import kind_of
from koalesce.matching.flaws import Flaw
from koalesce.matching.operator import is_unresolved
from koalesce.matching.quantity import ordered
from koalesce.matching.shapes import PLAIN, Shape
from koalesce.records import dataclass
from koalesce.suggestions import closest

_OF_ELEMENTS = frozenset({"all", "any", "none", "match"})
_OF_VALUE = frozenset({"allOf", "anyOf"})
_OF_TEXT = frozenset({"matches", "notMatches", "semver", "inCIDR"})
_OF_TIME = frozenset({"before", "after", "olderThan", "newerThan"})
_OF_LISTS = frozenset({*_OF_ELEMENTS, "exactly", "atLeast", "atMost", "containsInOrder", "unique", "count"})
_IN_ORDER = frozenset({"gt", "ge", "lt", "le"})
_TEXT = frozenset({"string", "quantity", "time", "int-or-string"})


@dataclass(frozen=True, slots=True)
class Stranger:
    """A field that the type doesn't have; `meant` is the one that probably was."""

    flaw: Flaw
    name: str
    meant: str | None


def misfits(pattern: Any, shape: Shape | None) -> list[Flaw]:
    """What can never match a value of this type: other kinds of values, operators of other kinds."""
    return [found for found in _walk(pattern, shape) if isinstance(found, Flaw)]


def member_misfits(pattern: Mapping[str, Any], shape: Shape) -> list[Flaw]:
    """As `misfits`, of an object's own level, whose keys are never operators."""
    return [found for found in _members(pattern, shape) if isinstance(found, Flaw)]


def strangers(pattern: Mapping[str, Any], shape: Shape) -> list[Stranger]:
    """The fields of an object's pattern that its type doesn't have."""
    return [found for found in _members(pattern, shape) if isinstance(found, Stranger)]


def _walk(pattern: Any, shape: Shape | None) -> Iterator[Flaw | Stranger]:
    if shape is None or shape.text == "any" or is_unresolved(pattern) or pattern is None:
        return
    if operators.is_operators(pattern):
        for name, operand in pattern.items():
            yield from _under(_operator(name, operand, shape), name)
    elif isinstance(pattern, Mapping):
        yield from _members(pattern, shape)
    elif isinstance(pattern, list):
        if not shape.is_list:
            yield Flaw((), f"a list can't match here: this is {_named(shape)}")
        for index, item in enumerate(pattern):
            yield from _under(_walk(item, shape.element), index)
    elif (said := _unlike(pattern, shape)) is not None:
        yield Flaw((), said)


def _members(pattern: Mapping[str, Any], shape: Shape) -> Iterator[Flaw | Stranger]:
    if shape.is_list or shape.text in PLAIN:
        hints = [operators.suggestion(str(key)) for key in pattern if key not in operators.OPERATORS]
        yield Flaw((), f"a map can't match here: this is {_named(shape)}{next(filter(None, hints), '')}")
        return
    for key, wanted in pattern.items():
        if shape.names is not None and key not in shape.names:
            yield _stranger(str(key), shape)
        else:
            yield from _under(_walk(wanted, shape.field(str(key))), str(key))


def _stranger(name: str, shape: Shape) -> Stranger:
    meant = closest(name, shape.names or ())
    return Stranger(Flaw((name,), f"{shape.text} has no field {name}"), name, meant)


def _operator(name: str, operand: Any, shape: Shape) -> Iterator[Flaw | Stranger]:
    if name in _OF_VALUE and isinstance(operand, list):
        for index, item in enumerate(operand):
            yield from _under(_walk(item, shape), index)
    elif name in _OF_LISTS and shape.text in PLAIN:
        yield Flaw((), f"{name} is said of lists: this is {_named(shape)}")
    elif name in _OF_ELEMENTS:
        yield from _walk(operand, shape.element or (shape.field("*") if shape.is_open else None))
    elif name == "containsInOrder" and isinstance(operand, list):
        for index, item in enumerate(operand):
            yield from _under(_walk(item, shape.element), index)
    elif name == "contains" and shape.is_list and isinstance(operand, Mapping) and not operators.is_operators(operand):
        yield from _walk(operand, shape.element)
    elif name == "equals":
        if not isinstance(operand, Mapping | list):
            yield from _walk(operand, shape)
    elif (wanted := _wanted_kind(name, shape)) is not None:
        yield Flaw((), f"{name} is said of {wanted}: this is {_named(shape)}")


def _wanted_kind(name: str, shape: Shape) -> str | None:
    """What an operator is said of, if that's something else than the type."""
    is_value = shape.text in PLAIN
    if name in _OF_TEXT and not (is_value and shape.text in _TEXT):
        return "texts"
    if name in _OF_TIME and not (is_value and shape.text in {"time", "string"}):
        return "times"
    if name in _IN_ORDER and (not is_value or shape.text == "boolean"):
        return "numbers, quantities and times"
    return None


def _unlike(value: Any, shape: Shape) -> str | None:
    """Why a plain value can't equal one of the type."""
    if isinstance(value, Mapping | list):
        return None
    kind = kind_of(value)
    if shape.text not in PLAIN:
        return f"the {kind} {render(value)} can't match here: this is {_named(shape)}"
    expected = {
        "boolean": ("boolean",),
        "integer": ("number",),
        "number": ("number",),
        "int-or-string": ("number", "string"),
    }.get(shape.text, ("string",))
    if kind in expected:
        return None
    hint = ""
    if expected == ("string",):
        hint = f'; quote it: "{render(value)}"' if kind in ("number", "boolean") else ""
    elif kind == "string" and (ordered(value) is not None or value in ("true", "false")):
        hint = f"; without quotes: {value}"
    return f"the {kind} {render(value)} can't match here: this is {_named(shape)}{hint}"


def _named(shape: Shape) -> str:
    """A type in words."""
    if shape.is_list:
        return "a list"
    if shape.text in PLAIN:
        text = {"int-or-string": "number or string"}.get(shape.text, shape.text)
        return f"an {text}" if text[0] in "aeio" else f"a {text}"
    return "a map"


def _under(found: Iterator[Flaw | Stranger], key: str | int) -> Iterator[Flaw | Stranger]:
    for one in found:
        if isinstance(one, Flaw):
            yield one.under(key)
        else:
            yield Stranger(one.flaw.under(key), one.name, one.meant)

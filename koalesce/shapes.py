"""Plain data, as JSON has it, read as data classes: each value must be what the type of its field says."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union

_T = TypeVar("_T")
_Reader = Callable[[Any], Any]
_SCALARS: Mapping[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a text"),
    int: ((int,), "a whole number"),
    float: ((float, int), "a number"),
    bool: ((bool,), "true or false"),
    NoneType: ((NoneType,), "null"),
}
_ENDLESS = (math.inf, -math.inf)  # which Python reads where JSON has a number that is too large
_SHOWN = 40


def shaped(kind: type[_T], value: Any) -> _T:
    """An instance of a data class; ValueError names what is missing, or is something else than its field holds.

    Fields that the class doesn't have are left out. Types of fields may be texts, numbers, truth values, literals, tuples of any length,
    mappings, other data classes, and unions of these.
    """
    reader: Callable[[Any], _T] = _record(typing.cast("Any", kind))
    return reader(value)


@cache
def _record(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    readers = {each.name: _reader(hints[each.name]) for each in fields}
    needed = [
        each.name
        for each in fields
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    ]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _other(value, "an object")
        if missing := [name for name in needed if name not in value]:
            raise ValueError(f"{kind.__name__} lacks {', '.join(missing)}")
        found = {}
        for name, reader in readers.items():
            if name in value:
                try:
                    found[name] = reader(value[name])
                except ValueError as error:
                    raise ValueError(f"{kind.__name__}.{name}: {error}") from error
        return kind(**found)

    return read


@cache
def _reader(wanted: Any) -> _Reader:
    if wanted is Any:
        return lambda value: value
    if wanted in _SCALARS:
        return _scalar(*_SCALARS[wanted])
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is tuple:
        return _sequence(_reader(inner[0]))
    if origin is Literal:
        return _one_of(inner)
    if origin in (Union, UnionType):
        return _any_of([_reader(each) for each in inner])
    if origin is not None and issubclass(origin, Mapping):
        return _scalar((dict,), "an object")
    return _record(wanted)


def _scalar(kinds: tuple[type, ...], what: str) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) not in kinds or value in _ENDLESS:  # true is no number
            raise _other(value, what)
        return value

    return read


def _sequence(item: _Reader) -> _Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _other(value, "a list")
        return tuple([item(each) for each in value])

    return read


def _one_of(values: tuple[Any, ...]) -> _Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in values:
            raise _other(value, f"one of {', '.join(values)}")
        return value

    return read


def _any_of(readers: list[_Reader]) -> _Reader:
    def read(value: Any) -> Any:
        problems = []
        for reader in readers:
            try:
                return reader(value)
            except ValueError as error:
                problems.append(error)
        raise problems[0]

    return read


def _other(value: Any, expected: str) -> ValueError:
    shown = repr(value)
    return ValueError(f"expected {expected}, got {shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}…'}")

"""What is wrong with what users wrote in a file or section that has no lines to point to: one sentence, in the words that specs are judged by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from koalesce.suggestions import closest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_EXPECTED = {
    "string_type": "a text", "int_type": "a whole number", "int_parsing": "a whole number", "bool_type": "true or false",
    "list_type": "a list", "tuple_type": "a list", "dict_type": "a map", "mapping_type": "a map", "model_type": "a map",
    "model_attributes_type": "a map",
}  # fmt: skip
_LIMITS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be more than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
}


def refusal(error: ValidationError, model: type[BaseModel], *, lists_fields: bool = True) -> str:
    """What pydantic found first, with its place: `machines.0.prot: unknown field; did you mean "port"?`.

    Where no field can be meant, it says which there are, if `lists_fields`.
    """
    first = error.errors()[0]
    place = tuple(each for each in first["loc"] if isinstance(each, int) or not each.startswith("function-"))
    kind, context = first["type"], first.get("ctx", {})
    if kind == "missing":
        return _at(place[:-1], f'missing field "{place[-1]}"')
    if kind == "extra_forbidden":
        return _at(place, _unknown(str(place[-1]), sorted(_fields(model, place[:-1])), lists_fields))
    if kind in _EXPECTED:
        return _at(place, f"expected {_EXPECTED[kind]}")
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return _at(place, f"{words} {context[name]}")
    if kind in ("too_short", "string_too_short") and context.get("min_length") == 1:
        return _at(place, "must not be empty")
    if kind == "literal_error":
        return _at(place, f"must be one of {str(context['expected']).replace(chr(39), '').replace(' or ', ', ')}")
    if kind == "string_pattern_mismatch":
        return _at(place, f"must match {context['pattern']}")
    said = first["msg"].removeprefix("Value error, ")
    return _at(place, said[:1].lower() + said[1:])


def _at(place: tuple[int | str, ...], said: str) -> str:
    return f"{'.'.join(map(str, place))}: {said}" if place else said


def _unknown(name: str, known: list[str], lists_fields: bool) -> str:
    if meant := closest(name, known):
        return f'unknown field; did you mean "{meant}"?'
    return "unknown field" + (f"; there are {', '.join(known)}" if lists_fields else "")


def _fields(model: type[BaseModel], place: tuple[int | str, ...]) -> set[str]:
    """The names of the fields that there are at a place."""
    models = {model}
    for step in place:
        if isinstance(step, str):
            below = [
                field.annotation
                for each in models
                for name, field in each.model_fields.items()
                if step in (name, field.alias)
            ]
            models = {found for annotation in below for found in _models(annotation)}
    return {field.alias or name for each in models for name, field in each.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation speaks of."""
    if hasattr(annotation, "model_fields"):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)

"""What is wrong with settings that have no lines to point to, in words, with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from koalesce.errors import UsageError
from koalesce.suggestions import closest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_EXPECTED = {
    "bool_type": "true or false", "float_type": "a number", "int_type": "a whole number", "model_type": "a map", "string_type": "a text", "tuple_type": "a list",
}  # fmt: skip
_SHOWN = 40  # characters of a text that is shown; what is longer may be a key


def refusal(
    error: ValidationError, where: str, *models: type[BaseModel], hint: str = "", between: str = "."
) -> UsageError:
    """The first fault of settings that are `where`, of one of these models; where one is none of theirs, or missing, the hint says what they have."""
    first = error.errors(include_url=False)[0]
    inside = "".join(_steps(first["loc"])).removeprefix(".")
    place = f"{where}{between}{inside}" if inside else where
    names = sorted({field.alias or name for model in models for name, field in model.model_fields.items()})
    known = f"it has {', '.join(names)}" if first["type"] in ("extra_forbidden", "missing") else None
    return UsageError(f"{place}: {_told(first, names)}", hint=hint or known)


def _steps(place: tuple[str | int, ...]) -> Iterator[str]:
    for step in place:
        yield f"[{step}]" if isinstance(step, int) else f".{step}"


def _told(fault: Mapping[str, Any], names: list[str]) -> str:
    value, context = fault["input"], fault.get("ctx") or {}
    match fault["type"]:
        case "extra_forbidden":
            meant = closest(str(fault["loc"][-1]), names)
            return "unknown setting" + (f'; did you mean "{meant}"?' if meant else "")
        case "missing":
            return "it has to be said"
        case "string_pattern_mismatch":
            return f"{_shown(value)} doesn't match {context['pattern']}"
        case "value_error":
            return str(context["error"])
        case "greater_than":
            return f"must be more than {context['gt']:g}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "literal_error":
            return "must be " + str(context["expected"]).replace("'", "")
        case kind if kind in _EXPECTED:
            return f"must be {_EXPECTED[kind]}"
    message = str(fault["msg"])
    return f"{message[:1].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) and len(value) <= _SHOWN and value.isprintable() else "what it says"

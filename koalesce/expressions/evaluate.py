"""Expressions against a scope of plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from koalesce.errors import KoalesceError
from koalesce.expressions import cel
from koalesce.expressions.syntax import (
    Every,
    Expression,
    Literal,
    Segment,
    SyntaxProblem,
    parse,
    pieces,
    suggestion,
    whole,
    without_cel,
)


class ExpressionError(KoalesceError):
    """An expression that can't be read, or that leads to nothing."""


def resolve(value: Any, scope: Mapping[str, Any]) -> Any:
    """The value with all of its expressions filled in; ExpressionError for the first that can't be.

    An expression that is a whole text gives its value as it is; inside of a longer text it becomes a text (true, 5, or JSON
    for lists and maps; null is refused). `$${{` stands for `${{`. Keys are left as they are.
    """
    match value:
        case str():
            return _text(value, scope) if "${{" in value else value
        case dict():
            return {key: resolve(child, scope) for key, child in value.items()}
        case list() | tuple():
            return [resolve(child, scope) for child in value]
        case _:
            return value


def evaluate(expression: str, scope: Mapping[str, Any]) -> Any:
    """The value of one expression (without its braces): a path, or anything else as CEL."""
    try:
        parsed = parse(expression)
    except SyntaxProblem as error:
        return _by_cel(expression.strip(), scope, error)
    if parsed.root not in scope:
        raise ExpressionError(f"{parsed.text}: no such name here{suggestion(parsed.root, list(scope))}")
    return _follow(parsed, scope[parsed.root], 0, parsed.root)


def _by_cel(expression: str, scope: Mapping[str, Any], no_path: SyntaxProblem) -> Any:
    """What is no path is CEL."""
    if not expression or not cel.is_installed():
        raise ExpressionError(without_cel(no_path, expression)) from no_path
    try:
        return cel.compiled(expression, scope).evaluate(scope)
    except ValueError as error:
        raise ExpressionError(f"{expression}: {error}") from error


def _text(text: str, scope: Mapping[str, Any]) -> Any:
    try:
        if (only := whole(text)) is not None:
            return evaluate(only, scope)
        parts = list(pieces(text))
    except SyntaxProblem as error:
        raise ExpressionError(str(error)) from error
    return "".join(part.text if isinstance(part, Literal) else _embedded(part, evaluate(part, scope)) for part in parts)


def _embedded(expression: str, value: Any) -> str:
    if value is None:
        raise ExpressionError(f"{expression} is null, which can't stand inside of a text")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _follow(expression: Expression, value: Any, index: int, done: str) -> Any:
    """The value at the segments from `index` on; `done` is the path so far, for messages."""
    if index == len(expression.segments):
        return value
    segment = expression.segments[index]
    if isinstance(segment, Every):
        return _every(expression, value, index, done)
    return _follow(expression, _step(expression, value, segment, done), index + 1, done + _written(segment))


def _every(expression: Expression, value: Any, index: int, done: str) -> list[Any]:
    """The rest of the path for each item; lists of a further `[*]` are joined into one."""
    items = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ExpressionError(f"{expression.text}: {done} is {cel.kind_of(value)}, not a list")
    found = [_follow(expression, item, index + 1, f"{done}[{number}]") for number, item in enumerate(items)]
    nested = any(isinstance(segment, Every) for segment in expression.segments[index + 1 :])
    return [item for part in found for item in part] if nested else found


def _step(expression: Expression, value: Any, segment: str | int, done: str) -> Any:
    if isinstance(value, Mapping):
        key = str(segment)
        if key in value:
            return value[key]
        raise ExpressionError(
            f"{expression.text}: {done} has no {key!r}{suggestion(key, [str(name) for name in value])}"
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _item(expression, value, segment, done)
    raise ExpressionError(f"{expression.text}: {done} is {cel.kind_of(value)} and has no {segment!r}")


def _item(expression: Expression, value: Sequence[Any], segment: str | int, done: str) -> Any:
    """An item of a list by its number or, for items that have one, by its name."""
    if isinstance(segment, int):
        if -len(value) <= segment < len(value):
            return value[segment]
        raise ExpressionError(f"{expression.text}: {done} has {len(value)} item(s), so there is no [{segment}]")
    names = [str(item["name"]) for item in value if isinstance(item, Mapping) and "name" in item]
    for item in value:
        if isinstance(item, Mapping) and item.get("name") == segment:
            return item
    raise ExpressionError(
        f"{expression.text}: {done} is a list without an item named {segment!r}{suggestion(segment, names)}"
    )


def _written(segment: Segment) -> str:
    return f"[{segment}]" if isinstance(segment, int) else f".{segment}"

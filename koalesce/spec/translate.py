"""From pydantic's errors to problems that an author understands: one for each mistake, at its place in the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from koalesce.models import WholeSchema
from koalesce.records import dataclass
from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

_EXPECTED = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a map",
    "mapping": "a map",
    "model": "a map",
    "model_attributes": "a map",
    "none_required": "nothing",
}
_STRUCTURAL = ("extra_forbidden", "missing")
_TYPE_SUFFIXES = ("_type", "_parsing", "_from_float")


@dataclass(frozen=True, slots=True)
class _Fault:
    """One of pydantic's errors, its location split into the path in the data and the union branches on the way."""

    path: Path
    branches: tuple[tuple[int, str], ...]
    kind: str
    message: str
    context: Mapping[str, Any]
    value: Any
    is_key: bool = False
    is_union_of: tuple[str, ...] = ()

    @property
    def is_echo(self) -> bool:
        """A list that is too short only because its items are wrong, which is said of each of them."""
        return self.kind == "too_short" and len(self.value) >= self.context.get("min_length", 0)

    @property
    def expects(self) -> str | None:
        """What type was expected, where the error is about the type alone."""
        for suffix in _TYPE_SUFFIXES:
            if self.kind.endswith(suffix):
                return _EXPECTED.get(self.kind.removesuffix(suffix))
        return _EXPECTED.get(self.kind)


def problems_of(
    error: ValidationError,
    data: Any,
    where: Path,
    source: Source,
    *,
    adapter: type[BaseModel],
    lenient: bool = False,
    short: str | None = None,
    elsewhere: Mapping[str, str] | None = None,
    sample: str | None = None,
) -> list[Problem]:
    """The problems of a value that stands at `where`, checked by `adapter`.

    `lenient` passes over values that have an expression: they are checked again once it's filled in. `short` is the field that a
    bare value stood for. `elsewhere` are names that belong to another place, with the hint that says so. `sample` is how the whole is
    written, for a hint where it has the wrong shape.
    """
    faults = [fault for found in error.errors(include_url=False) if not (fault := _fault(found, data)).is_echo]
    if lenient:
        faults = [fault for fault in faults if fault.kind in _STRUCTURAL or not _has_expression(_at(data, fault.path))]
    problems: list[Problem] = []
    for fault in _without_unions(faults):
        is_short = short is not None and fault.path[:1] == (short,)
        path = fault.path[1:] if is_short else fault.path
        if is_short and not path and fault.expects:
            fault = replace(fault, is_union_of=(fault.expects, "a map"))
        problem = _problem(fault, (*where, *path), source, adapter, elsewhere or {})
        if sample is not None and problem.hint is None and _has_no_shape(fault, path, data):
            problem = replace(problem, hint=f"as in {sample}")
        problems.append(problem)
    return list(dict.fromkeys(problems))


def _has_no_shape(fault: _Fault, path: Path, data: Any) -> bool:
    """Whether a whole is of the wrong type, or nothing of it is written."""
    if fault.kind == "missing":
        return len(path) == 1 and data == {}
    return not path and bool(fault.is_union_of or fault.expects)


def _fault(found: Any, data: Any) -> _Fault:
    """Split a location: what isn't a key or an index of the data is the name of a branch."""
    path: list[str | int] = []
    branches: list[tuple[int, str]] = []
    current = data
    location = found["loc"]
    for number, step in enumerate(location):
        is_last = number == len(location) - 1
        if _has(current, step):
            current = current[step]
            path.append(step)
        elif is_last and found["type"] == "missing":
            path.append(step)
        elif step != "[key]":
            branches.append((len(path), str(step)))
    is_key = "[key]" in location
    return _Fault(
        tuple(path),
        tuple(branches),
        found["type"],
        found["msg"],
        found.get("ctx", {}),
        path[-1] if is_key and path else current,
        is_key=is_key,
    )


def _at(data: Any, path: Path) -> Any:
    for step in path:
        if not _has(data, step):
            return None
        data = data[step]
    return data


def _has(data: Any, step: str | int) -> bool:
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list | tuple) and isinstance(step, int) and 0 <= step < len(data)


def _has_expression(value: Any) -> bool:
    return isinstance(value, str) and "${{" in value


def _without_unions(faults: Sequence[_Fault]) -> list[_Fault]:
    """Of a union's faults only those of the branch that was meant."""
    kept: list[_Fault] = []
    groups: dict[Path, list[_Fault]] = {}
    for fault in faults:
        if fault.branches:
            groups.setdefault(fault.path[: fault.branches[0][0]], []).append(fault)
        else:
            kept.append(fault)
    for path, group in groups.items():
        kept += _meant(path, group)
    return kept


def _meant(path: Path, group: Sequence[_Fault]) -> list[_Fault]:
    """The faults of the likeliest branch: the one that got furthest into the value."""
    branches: dict[str, list[_Fault]] = {}
    for fault in group:
        branches.setdefault(fault.branches[0][1], []).append(fault)
    serious = {
        name: found
        for name, found in branches.items()
        if not any(fault.path == path and fault.expects for fault in found)
    }
    if serious:
        best = min(
            serious.values(), key=lambda found: (sum(fault.kind != "value_error" for fault in found), len(found))
        )
        return _without_unions([_next_level(fault) for fault in best])
    expected = tuple(dict.fromkeys(fault.expects for fault in group if fault.path == path and fault.expects))
    first = group[0]
    return [replace(first, path=path, branches=(), is_union_of=tuple(name for name in expected if name))]


def _next_level(fault: _Fault) -> _Fault:
    return replace(fault, branches=fault.branches[1:])


def _problem(
    fault: _Fault,
    where: Path,
    source: Source,
    adapter: type[BaseModel],
    elsewhere: Mapping[str, str],
) -> Problem:
    match fault.kind:
        case "extra_forbidden":
            name = str(where[-1])
            hint = did_you_mean(name, known_fields(adapter, fault.path[:-1]) - {name})
            hint = elsewhere.get(name, hint) if len(fault.path) == 1 else hint
            return source.problem(source.locate(where, key=True), "unknown field", where=where, hint=hint)
        case "missing":
            return source.problem(source.locate(where[:-1], key=True), f'missing field "{where[-1]}"', where=where[:-1])
        case "literal_error":
            return _not_one_of(fault, where, source)
    position = source.locate(where, key=fault.is_key)
    if expected := (fault.is_union_of or ((fault.expects,) if fault.expects else ())):
        message = f"expected {' or '.join(expected)}, found {_named(fault.value)}"
        hint = _type_hint(fault.value, expected, source.written(position))
        return source.problem(position, message, where=where, hint=hint)
    return source.problem(position, _sentence(fault), where=where)


def _not_one_of(fault: _Fault, where: Path, source: Source) -> Problem:
    allowed = str(fault.context.get("expected", "")).replace("'", "").replace(" or ", ", ")
    for python, yaml in (("True", "true"), ("False", "false"), ("None", "null")):
        allowed = allowed.replace(python, yaml)
    choices = allowed.split(", ")
    hint = did_you_mean(fault.value, choices) if isinstance(fault.value, str) and len(choices) > 1 else None
    found = f'"{fault.value}"' if isinstance(fault.value, str) else _named(fault.value)
    message = f"must be {'one of ' if len(choices) > 1 else ''}{allowed}, not {found}"
    return source.problem(source.locate(where, key=fault.is_key), message, where=where, hint=hint)


def _type_hint(value: Any, expected: Sequence[str], written: str) -> str | None:
    if tuple(expected) == ("a text",) and isinstance(value, bool | int | float):
        return f'quote it: "{written}"'
    if "true or false" in expected and isinstance(value, str) and value.lower() in ("yes", "on", "y"):
        return "write true"
    if "true or false" in expected and isinstance(value, str) and value.lower() in ("no", "off", "n"):
        return "write false"
    return None


def _sentence(fault: _Fault) -> str:
    context = fault.context
    match fault.kind:
        case "value_error" | "assertion_error":
            return str(context.get("error", fault.message))
        case "string_too_short" | "too_short" if context.get("min_length") == 1:
            return "must not be empty"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "greater_than":
            return f"must be more than {context['gt']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "less_than":
            return f"must be less than {context['lt']}"
    message = fault.message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _named(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f'the text "{value}"' if len(value) <= 40 and value.isprintable() else "a text"
        case list() | tuple():
            return "a list"
        case _:
            return "a map"


def known_fields(adapter: type[BaseModel], path: Path) -> set[str]:
    """The names of the fields that a type takes at a path, by its JSON Schema."""
    schema = adapter.model_json_schema(schema_generator=WholeSchema)
    places: list[Mapping[str, Any]] = list(_variants(schema, schema))
    for step in path:
        below: list[Mapping[str, Any]] = []
        for place in places:
            inner = place.get("items") if isinstance(step, int) else _property(place, step)
            if isinstance(inner, dict):
                below += _variants(inner, schema)
        places = below
    return {name for place in places for name in place.get("properties", {})}


def _property(place: Mapping[str, Any], name: str) -> Any:
    properties = place.get("properties", {})
    return properties[name] if name in properties else place.get("additionalProperties")


def _variants(place: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """A schema with its references and alternatives followed."""
    if reference := place.get("$ref"):
        target = schema.get("$defs", {}).get(str(reference).rsplit("/", 1)[-1])
        if target is not None:
            yield from _variants(target, schema)
        return
    yield place
    for keyword in ("anyOf", "oneOf", "allOf"):
        for alternative in place.get(keyword, ()):
            yield from _variants(alternative, schema)

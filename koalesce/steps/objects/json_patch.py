"""JSON patches (RFC 6902): operations as they are written, and what they make of objects that are still in a file."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from koalesce.models import Model


def _pointer(path: str) -> str:
    if path and not path.startswith("/") and "${{" not in path:
        raise ValueError(f'"{path}" is no path of a JSON patch; it begins with /, such as /spec/replicas')
    return path


class JsonOperation(Model):
    """One operation of a JSON patch (RFC 6902)."""

    op: Literal["add", "remove", "replace", "move", "copy", "test"]
    """What to do; `test` has the whole patch refused where the value is another one."""
    path: Annotated[str, AfterValidator(_pointer)] = Field(examples=["/spec/replicas"])
    """Where: `/spec/containers/0/image`; `~1` stands for `/` in a key, `~0` for `~`, `-` for the end of a list."""
    from_: Annotated[str, AfterValidator(_pointer)] | None = Field(default=None, alias="from")
    """Where a value comes from (`move`, `copy`)."""
    value: Any = None
    """The value (`add`, `replace`, `test`)."""

    @model_validator(mode="after")
    def _check_fields(self) -> JsonOperation:
        needs_from, needs_value = self.op in ("move", "copy"), self.op in ("add", "replace", "test")
        if needs_from != (self.from_ is not None):
            raise ValueError(f"{self.op} {'needs' if needs_from else 'has no'} from")
        if needs_value != ("value" in self.model_fields_set):
            raise ValueError(f"{self.op} {'needs a' if needs_value else 'has no'} value")
        return self

    def to_json(self) -> dict[str, Any]:
        """As the API server takes it."""
        return {self._name(name): getattr(self, name) for name in ("op", "path", "from_", "value") if self._has(name)}

    def _has(self, name: str) -> bool:
        return name in self.model_fields_set

    def _name(self, name: str) -> str:
        return "from" if name == "from_" else name


class NotPatched(Exception):
    """An operation can't be done; its text says which, and why."""


def json_patched(target: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A copy of an object after all operations, as JSON; NotPatched if one of them can't be done."""
    root: dict[str, Any] = {"": copy.deepcopy(dict(target))}  # so that the whole document is a member, too
    for number, each in enumerate(operations):
        try:
            _apply(root, each)
        except NotPatched as error:
            raise NotPatched(f"json[{number}] ({each['op']} {each['path']}): {error}") from None
    found: dict[str, Any] = root[""]
    return found


def _apply(root: dict[str, Any], operation: Mapping[str, Any]) -> None:
    path = _tokens(operation["path"])
    match operation["op"]:
        case "add":
            _add(root, path, copy.deepcopy(operation["value"]))
        case "replace":
            _remove(root, path)
            _add(root, path, copy.deepcopy(operation["value"]))
        case "remove":
            _remove(root, path)
        case "copy":
            _add(root, path, copy.deepcopy(_value(root, _tokens(operation["from"]))))
        case "move":
            source = _tokens(operation["from"])
            if path[: len(source)] == source != path:
                raise NotPatched("nothing can be moved into itself")
            value = _value(root, source)
            _remove(root, source)
            _add(root, path, value)
        case "test":
            there = _value(root, path)
            if not _is_equal(there, operation["value"]):
                raise NotPatched(f"there is {there!r}, not {operation['value']!r}")


def _tokens(pointer: str) -> list[str]:
    """The keys of a path (RFC 6901), that of the whole document first."""
    return [each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")]


def _add(root: dict[str, Any], path: list[str], value: Any) -> None:
    inside, key = _value(root, path[:-1]) if path[1:] else root, path[-1]
    if isinstance(inside, list):
        inside.insert(len(inside) if key == "-" else _index(inside, key, path, end=1), value)
    elif isinstance(inside, dict):
        inside[key] = value
    else:
        raise NotPatched(f"{_shown(path[:-1])} is neither a map nor a list")


def _remove(root: dict[str, Any], path: list[str]) -> None:
    _value(root, path)
    inside, key = _value(root, path[:-1]) if path[1:] else root, path[-1]
    if isinstance(inside, list):
        del inside[_index(inside, key, path)]
    else:
        del inside[key]


def _value(root: dict[str, Any], path: list[str]) -> Any:
    value: Any = root
    for place, key in enumerate(path):
        if isinstance(value, list):
            value = value[_index(value, key, path[: place + 1])]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            raise NotPatched(f"there is no {_shown(path[: place + 1])}")
    return value


def _index(items: list[Any], key: str, path: list[str], *, end: int = 0) -> int:
    """An element's number; with `end` also that of the place behind the last."""
    if not key.isascii() or not key.isdecimal() or (key[0] == "0" and key != "0"):
        raise NotPatched(f"{_shown(path[:-1])} is a list: {key!r} is no number of an element")
    if int(key) >= len(items) + end:
        raise NotPatched(f"{_shown(path[:-1])} has {len(items)} elements, and no {key}")
    return int(key)


def _is_equal(one: Any, other: Any) -> bool:
    """Equality of JSON, where true isn't 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_equal(one[key], other[key]) for key in one)
    return bool(one == other)


def _shown(path: list[str]) -> str:
    return "/".join(each.replace("~", "~0").replace("/", "~1") for each in path) or "the object"

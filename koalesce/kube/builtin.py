"""What is known of Kubernetes' own kinds without a cluster: their names, whether they have namespaces, and their fields.

The table (builtin.json) is made from a real API server's discovery and OpenAPI by `python -m tests.contract.builtin_table`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from koalesce.kube.discovery import by_name, readings
from koalesce.kube.resource import Resource
from koalesce.matching.shapes import Shape, Types
from koalesce.records import dataclass
from koalesce.suggestions import closest

_FILE = Path(__file__).with_name("builtin.json")
# Of a kind that isn't built in only what all kinds have in common is known: metadata, and conditions by their type.
_CUSTOM: Types = {
    "Custom": {
        "apiVersion": "string",
        "kind": "string",
        "metadata": "ObjectMeta",
        "status": "CustomStatus",
        "*": "any",
    },
    "CustomStatus": {"conditions": "list by type of any", "*": "any"},
}


@dataclass(frozen=True, slots=True)
class _Table:
    resources: tuple[Resource, ...]
    types: Types
    names: dict[tuple[str, str], str]  # (apiVersion, kind) -> type


def resources() -> tuple[Resource, ...]:
    """All built-in kinds, in an API server's order of preference."""
    return _table().resources


def shape_of(api_version: str, kind: str) -> Shape:
    """The type of an object."""
    table = _table()
    return Shape(table.types, table.names.get((api_version, kind), "Custom"))


def keyed_lists() -> dict[str, tuple[str, ...]]:
    """The lists of stable types whose elements are told apart by keys: `Container.ports` by containerPort and protocol."""
    table = _table()
    found = {}
    for name, fields in sorted(table.types.items()):
        for field, text in sorted(fields.items()):
            if "." not in name and "Custom" not in name and (keys := Shape(table.types, text).keys):
                found[f"{name}.{field}"] = keys
    return found


def find(name: str, others: Iterable[Resource] = ()) -> Resource | None:
    """The kind of this name among the built-in ones and others, as kubectl would take it; None if there is none."""
    return by_name([*resources(), *others], list(readings(name)))


def has_group(group: str) -> bool:
    """Whether built-in kinds have this API group."""
    return any(resource.group == group for resource in resources())


def likely(name: str, others: Iterable[Resource] = ()) -> str | None:
    """The kind that was probably meant, written in the same way (singular or plural, with or without group)."""
    word, dot, group = name.partition(".")
    known = [*resources(), *others]
    if dot:
        fitting = [one for one in known if one.group == group]
        known = fitting or known
    names = {each for one in known for each in (one.plural, one.singular)}
    found = closest(word, names)
    if found is None:
        return None
    return f"{found}.{group}" if dot and any(one.group == group for one in known) else found


@lru_cache(maxsize=1)
def _table() -> _Table:
    data: dict[str, Any] = json.loads(_FILE.read_text())
    found = []
    names = {}
    for row in data["kinds"]:
        api_version, kind, plural, scope, singular, type_name, *short = row.split(" ")
        group, _, version = api_version.rpartition("/")
        namespaced = scope == "namespaced"
        found.append(Resource(group, version, kind, plural, namespaced, singular=singular, short_names=tuple(short)))
        names[api_version, kind] = type_name
    return _Table(tuple(found), {**data["types"], **_CUSTOM}, names)

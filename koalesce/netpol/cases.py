"""What is tried on a grid: cases, each of them changes that are made one after the other from a grid without policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Labels = Mapping[str, str | None]
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Policies that come, are replaced or go, and labels that are set or (null) removed, all at once.

    Policies are objects whose namespaces are the grid's own names; `delete` and the keys of `pods` are `namespace/name`.
    """

    title: str
    apply: Sequence[Object] = ()
    delete: Sequence[str] = ()
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    pods: Mapping[str, Labels] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Changes that belong together; `tags` say what they are about."""

    name: str
    changes: Sequence[Change]
    tags: frozenset[str] = frozenset()


def policy(namespace: str, name: str, pods: Object | None = None, **spec: Any) -> dict[str, Any]:
    """A NetworkPolicy of a namespace; `pods` is what it selects (default: all), `types`, `ingress` and `egress` are the rest of its spec."""
    if "types" in spec:
        spec["policyTypes"] = spec.pop("types")
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": pods or {}, **spec},
    }  # fmt: skip


def named(obj: Object) -> str:
    """A policy by its namespace and name."""
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def labels(**wanted: str) -> dict[str, Any]:
    """A selector by labels."""
    return {"matchLabels": wanted}


def term(key: str, operator: str, *values: str) -> dict[str, Any]:
    """A selector of one expression."""
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


def tagged(cases: Iterable[Case], wanted: Sequence[str]) -> list[Case]:
    """The cases that have one of the tags, none of which means all; a tag with a `-` before it leaves out those that have it."""
    without = {tag[1:] for tag in wanted if tag.startswith("-")}
    having = {tag for tag in wanted if not tag.startswith("-")}
    return [case for case in cases if (not having or having & case.tags) and not without & case.tags]

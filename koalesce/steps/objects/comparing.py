"""Comparing whole objects with what is written of them: their types are known where they are built in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from koalesce.kube import builtin
from koalesce.matching.fitting import Stranger, member_misfits, strangers
from koalesce.matching.flaws import Flaw, Where
from koalesce.matching.mismatch import member
from koalesce.matching.partial import Matching
from koalesce.matching.shapes import Shape
from koalesce.steps.base import StepContext

Object = Mapping[str, Any]


def matching(context: StepContext, obj: Object) -> Matching:
    """How an object is compared: by its type, at the time of the look."""
    return Matching(
        shape_of(obj),
        now=lambda: context.view.now(cancel=context.scope.cancel),
        may_not_exist=context.may_not_exist,
        is_object=True,
    )


def shape_of(obj: Object) -> Shape:
    """What is known of an object's type."""
    return builtin.shape_of(obj["apiVersion"], obj["kind"])


def is_built_in(obj: Object) -> bool:
    """Whether the fields of an object's kind are known."""
    return shape_of(obj).names is not None


def unknown_field(pattern: Mapping[str, Any], obj: Object) -> str | None:
    """A field that is written, which this object's kind doesn't have, in words; one that stands anywhere in the object is believed."""
    found = strangers(pattern, shape_of(obj))
    if not found:
        return None
    names = set(_names(obj))
    for stranger in found:
        if stranger.name not in names:
            return _said(stranger, obj["kind"])
    return None


def pattern_flaws(kind: str, pattern: Mapping[str, Any]) -> list[Flaw]:
    """What can be said to be wrong with a pattern by the name of a kind alone: fields that look mistyped, values of other types."""
    resource = builtin.find(kind)
    if resource is None:
        return []
    shape = builtin.shape_of(resource.api_version, resource.kind)
    typos = [
        Flaw(one.flaw.where, f'{resource.kind} has no field "{one.name}" here; did you mean "{one.meant}"?')
        for one in strangers(pattern, shape)
        if one.meant is not None
    ]
    return [*typos, *member_misfits(pattern, shape)]


def _said(stranger: Stranger, kind: str) -> str:
    hint = f"; did you mean {stranger.meant}?" if stranger.meant else ""
    return f"{kind} has no field {_path(stranger.flaw.where)}{hint}"


def _path(where: Where) -> str:
    path = ""
    for key in where:
        path = member(path, key)
    return path


def _names(value: Any) -> Iterator[str]:
    """All keys of a value, at any depth."""
    children: Iterable[Any] = ()
    if isinstance(value, Mapping):
        yield from value
        children = value.values()
    elif isinstance(value, list):
        children = value
    for child in children:
        yield from _names(child)

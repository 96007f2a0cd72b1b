"""Undoing what a step did to objects that outlive its test's namespace: delete, put back, make again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from koalesce.errors import ClusterError
from koalesce.steps.base import StepContext
from koalesce.steps.objects.ownership import Place, is_own

Object = Mapping[str, Any]
_KEPT = ("labels", "annotations", "finalizers", "ownerReferences")  # of the metadata: the rest is the server's
_COUNTED = "deprecated.daemonset.template.generation"  # the API server counts changes of a DaemonSet's template in it
_NOT_OURS = ("apiVersion", "kind", "metadata", "status")
# What lives in these is gone with them, or another takes their place: a copy would be another thing of the same name.
_UNIQUE = frozenset(
    {"CustomResourceDefinition", "Job", "Namespace", "Node", "PersistentVolume", "PersistentVolumeClaim", "Pod"}
)
_MISSING: Any = object()


def deletion(context: StepContext, place: Place) -> Callable[[], None]:
    """Deletes the object, if it's the test's own by then."""

    def delete() -> None:
        found = place.kube.get(place.resource, place.name, place.namespace, metadata_only=True)
        if found is not None and is_own(found, context):
            place.kube.delete(place.resource, place.name, place.namespace)

    return delete


def deletion_of_generated(context: StepContext, place: Place, prefix: str) -> Callable[[], None]:
    """Deletes the objects of the test's own whose names the server made of a prefix."""

    def delete() -> None:
        selector = ",".join(f"{key}={value}" for key, value in context.labels.items())
        for found in place.kube.list(place.resource, namespace=place.namespace, selector=selector):
            if found["metadata"]["name"].startswith(prefix):
                place.kube.delete(place.resource, found["metadata"]["name"], place.namespace)

    return delete


class Restoration:
    """Puts back what one change changed: the fields that still are as the change left them.

    `note` takes the object as the change left it; where nobody knows (the answer was lost), anything that differs is a problem.
    """

    def __init__(self, place: Place, before: Object, subresource: str = "") -> None:
        self._place = place
        self._before = before
        self._subresource = subresource
        self._after: Object | None = None
        self._is_refused = False

    def note(self, after: Object) -> None:
        """The change was made."""
        self._after, self._is_refused = after, False

    def note_refusal(self) -> None:
        """The server refused, so nothing has changed."""
        self._is_refused = self._after is None

    def undo(self) -> None:
        """Put the fields back; ClusterError for those that somebody else has changed since."""
        if self._is_refused:
            return
        kube, place = self._place.kube, self._place
        current = kube.get(place.resource, place.name, place.namespace, subresource=self._subresource)
        if current is None:  # the change went with it
            return
        after = self._after or current  # without an answer, all that differs now is in doubt
        before, after, now = (_restorable(obj, self._subresource) for obj in (self._before, after, current))
        patch, lost = reversal(before, after, now)
        if self._after is None and (patch or lost):
            raise ClusterError("it isn't known what came of the change, and the object has changed since")
        if patch:
            kube.patch(place.resource, place.name, place.namespace, patch, type="merge", subresource=self._subresource)
        if lost:
            raise ClusterError(f"changed by somebody else since, so not put back: {', '.join(lost)}")


def recreation(place: Place, before: Object) -> Callable[[], None] | None:
    """Makes a deleted object again, unless another is there by then; None where a copy wouldn't be the same thing."""
    owners = before["metadata"].get("ownerReferences") or ()
    if before["kind"] in _UNIQUE or any(owner.get("controller") for owner in owners):
        return None

    def create() -> None:
        if place.kube.get(place.resource, place.name, place.namespace, metadata_only=True) is None:
            kept = {key: before["metadata"][key] for key in ("name", "namespace", *_KEPT) if key in before["metadata"]}
            place.kube.create({key: value for key, value in before.items() if key != "status"} | {"metadata": kept})

    return create


def reversal(before: Object, after: Object, current: Object, path: str = "") -> tuple[dict[str, Any], list[str]]:
    """The merge patch that turns `after` back into `before`, and the paths where `current` is neither of them."""
    patch: dict[str, Any] = {}
    lost: list[str] = []
    for key in sorted({*before, *after}):
        old, new, now = (side.get(key, _MISSING) for side in (before, after, current))
        if old == new or now == old:
            continue
        if now == new:
            patch[key] = _replacing(old, now)
        elif isinstance(new, Mapping) and isinstance(now, Mapping) and (old is _MISSING or isinstance(old, Mapping)):
            inner, gone = reversal({} if old is _MISSING else old, new, now, f"{path}.{key}")
            lost += gone
            if inner:
                patch[key] = inner
        else:
            lost.append(f"{path}.{key}")
    return patch, lost


def _replacing(old: Any, now: Any) -> Any:
    """What a merge patch says to have `old` where `now` is: it would merge one map into the other."""
    if old is _MISSING:
        return None
    if isinstance(old, Mapping) and isinstance(now, Mapping):
        kept = {key: _replacing(value, now.get(key, _MISSING)) for key, value in old.items()}
        return {**dict.fromkeys(now.keys() - old.keys()), **kept}
    return copy.deepcopy(old)


def _restorable(obj: Object, subresource: str) -> dict[str, Any]:
    """The part of an object that its authors write, or (subresource status) the part that its controllers write."""
    if subresource == "status":
        return {"status": obj.get("status") or {}}
    body = {key: value for key, value in obj.items() if key not in _NOT_OURS}
    if subresource:
        return body
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key in _KEPT}
    if _COUNTED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key != _COUNTED}
    return {**body, "metadata": metadata}

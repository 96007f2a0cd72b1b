"""The revisions of a workload: what its pods were like before, as its controller remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from koalesce.records import dataclass
from koalesce.steps.objects.reading import Reader

_REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Revision:
    """What the pods of a revision are made of."""

    number: int
    template: Mapping[str, Any]

    def is_of(self, template: Mapping[str, Any]) -> bool:
        """Whether pods of this template are of this revision."""
        return bool(_without_nulls(self.template) == _without_nulls(template))


def revisions(reader: Reader, workload: Object) -> list[Revision]:
    """All that are remembered, oldest first."""
    if workload["kind"] == "Deployment":
        found = [_of_replica_set(obj) for obj in _owned(reader, "replicasets.apps", workload)]
    else:
        found = [_of_controller_revision(obj) for obj in _owned(reader, "controllerrevisions.apps", workload)]
    return sorted((one for one in found if one is not None), key=lambda one: one.number)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, list) else value


def _owned(reader: Reader, kind: str, owner: Object) -> list[dict[str, Any]]:
    namespace, uid = owner["metadata"]["namespace"], owner["metadata"].get("uid")
    return [
        obj
        for obj in reader.list(reader.kind(kind), namespace)
        if any(reference.get("uid") == uid for reference in obj["metadata"].get("ownerReferences") or ())
    ]


def _of_replica_set(obj: Object) -> Revision | None:
    number = (obj["metadata"].get("annotations") or {}).get(_REVISION, "")
    if not number.isdigit():
        return None
    template = obj["spec"]["template"]
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != _HASH}
    return Revision(int(number), {**template, "metadata": {**metadata, "labels": labels}})


def _of_controller_revision(obj: Object) -> Revision | None:
    template = ((obj.get("data") or {}).get("spec") or {}).get("template")
    if not isinstance(template, Mapping):
        return None
    return Revision(int(obj["revision"]), {key: value for key, value in template.items() if key != "$patch"})

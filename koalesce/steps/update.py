"""The step `update`: put objects in the place of those that are there."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import model_validator

from koalesce.kube import ApiError
from koalesce.steps.objects.acting import Approach, ObjectAction
from koalesce.steps.objects.ownership import MARKS, labels_of


class Update(ObjectAction, key="update"):
    """Replace objects as a whole, as `kubectl replace` does: what isn't written is gone. One that isn't there is a failure.

    An object that says its `metadata.resourceVersion` replaces no other version: the step fails with a `Conflict`.
    """

    done_word: ClassVar[str] = "replaced"

    @model_validator(mode="after")
    def _check_sources(self) -> Update:
        if not self.has_sources:
            raise ValueError("update needs at least one of object, objects, file and files")
        return self

    def send(self, approach: Approach, target: dict[str, Any]) -> dict[str, Any]:
        """Replace one object."""
        before = approach.expected()
        marks = {key: value for key, value in labels_of(before).items() if key in MARKS}  # whose it is isn't replaced
        metadata = dict(target["metadata"])
        if labels := {**(metadata.get("labels") or {}), **marks}:
            metadata["labels"] = labels
        is_given = metadata.get("resourceVersion") is not None
        metadata.setdefault("resourceVersion", before["metadata"]["resourceVersion"])
        try:
            return approach.place.kube.replace(
                {**target, "metadata": metadata}, field_manager=self.field_manager, dry_run=self.dry_run
            )
        except ApiError as error:
            if is_given and error.status == 409:  # its author's own condition: it won't come true
                error.lasting = True
            raise

"""The step `patch`: change parts of objects that are there."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from koalesce.kube import ApiError
from koalesce.steps.base import Failed
from koalesce.steps.objects.acting import Approach
from koalesce.steps.objects.json_patch import JsonOperation
from koalesce.steps.objects.targets import TargetAction

_UNSUPPORTED_MEDIA = 415
_UNSAID = "the server rejected our request due to an error in our request"
_WAYS = ("merge", "strategic", "json_")


class Patch(TargetAction, key="patch"):
    """Change parts of objects that are there, by exactly one of `merge`, `strategic` and `json`.

    What is changed of an object that isn't the test's own is put back at the test's end: the fields that are still as the patch left
    them.
    """

    done_word: ClassVar[str] = "patched"

    merge: dict[str, Any] | None = None
    """What to merge in (RFC 7386): maps by key, null removes, a list is replaced as a whole."""
    strategic: dict[str, Any] | None = None
    """What to merge in as Kubernetes does: lists of containers, ports and others by their elements' keys, `$patch: delete` removes.
    Only for built-in kinds."""
    json_: tuple[JsonOperation, ...] | None = Field(default=None, alias="json", min_length=1)
    """Operations, in order."""
    subresource: Literal["status", "scale", "resize", "ephemeralcontainers", "approval"] | None = None
    """The part of the object that has a path of its own in the API."""

    @model_validator(mode="after")
    def _check_way(self) -> Patch:
        given = [way.rstrip("_") for way in _WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            said = f"got {' and '.join(given)}" if given else "got none"
            raise ValueError(f"patch needs exactly one of merge, strategic and json; {said}")
        return self

    @property
    def changed_subresource(self) -> str:
        """The subresource that is patched."""
        return self.subresource or ""

    def change(self, approach: Approach) -> dict[str, Any] | Failed:
        """Patch one object."""
        approach.expected()
        place = approach.place
        body: Any = self.merge if self.merge is not None else self.strategic
        kind: Literal["merge", "json", "strategic"] = "merge" if self.merge is not None else "strategic"
        if self.json_ is not None:
            body, kind = [operation.to_json() for operation in self.json_], "json"
        try:
            return place.kube.patch(
                place.resource, place.name, place.namespace, body, type=kind,
                subresource=self.changed_subresource, field_manager=self.field_manager, dry_run=self.dry_run,
            )  # fmt: skip
        except ApiError as error:
            if error.status == _UNSUPPORTED_MEDIA and kind == "strategic":
                raise error.about("only built-in kinds take a strategic patch; write merge or json") from error
            if error.said == _UNSAID and kind == "json":
                raise error.about("one of its operations can't be done (a path that isn't there, a test)") from error
            raise

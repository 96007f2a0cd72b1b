"""The step `scale`: how many replicas there shall be."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, StrictInt

from koalesce.steps.base import Failed
from koalesce.steps.objects.acting import Approach, scale_of
from koalesce.steps.objects.targets import TargetAction


class Scale(TargetAction, key="scale"):
    """Set the number of replicas through the scale subresource: of Deployments, StatefulSets, and any kind that has one.

    It doesn't wait: a `wait-for` with `rollout: true` does. What belongs to a component or to the spec's setup is scaled only by a test
    that is `disruptive`, and back at its end.
    """

    done_word: ClassVar[str] = "scaled"
    verb: ClassVar[str] = "scale"

    replicas: StrictInt = Field(ge=0)
    """How many."""
    current: StrictInt | None = Field(default=None, ge=0)
    """How many there have to be asked for before; another number is a failure, and nothing is changed."""

    def title(self) -> str:
        """What is scaled, and to how many."""
        return f"scale {self.target_name} to {self.replicas}"

    @property
    def changed_subresource(self) -> str:
        """Always the scale."""
        return "scale"

    def change(self, approach: Approach) -> dict[str, Any] | Failed:
        """Scale one object, as it was looked at."""
        place = approach.place
        approach.expected()
        before = scale_of(place)
        replicas = (before.get("spec") or {}).get("replicas", 0)
        if self.current is not None and replicas != self.current:
            said = f"{place} is to have {replicas} replicas, expected {self.current} before it is scaled"
            return Failed(said, str(self.current), str(replicas), final=True)
        body = {
            "metadata": {"resourceVersion": before["metadata"]["resourceVersion"]},
            "spec": {"replicas": self.replicas},
        }
        return place.kube.patch(
            place.resource, place.name, place.namespace, body, type="merge", subresource="scale",
            field_manager=self.field_manager, dry_run=self.dry_run,
        )  # fmt: skip

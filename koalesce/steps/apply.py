"""The step `apply`: have objects in the cluster as they are written."""

from __future__ import annotations

from typing import Any

from pydantic import StrictBool, model_validator

from koalesce.steps.objects.acting import Approach, ObjectAction


class Apply(ObjectAction, key="apply"):
    """Create or change objects by server-side apply.

    Namespaced objects that name no namespace go to the test's own. What the test makes is labelled as its own, and deleted at its
    end. An object of the spec's components or setup may be changed; what was changed of it is put back at the test's end. An object
    of another test isn't touched, and one of the cluster only if the test is `disruptive`: anything else is an error.
    """

    force: StrictBool = True
    """Whether fields are taken over from other managers; without it that is a conflict, which fails."""

    @model_validator(mode="after")
    def _check_sources(self) -> Apply:
        if not self.has_sources:
            raise ValueError("apply needs at least one of object, objects, file and files")
        return self

    def send(self, approach: Approach, target: dict[str, Any]) -> dict[str, Any]:
        """Apply one object."""
        return approach.place.kube.apply(
            target, field_manager=self.field_manager, force=self.force, dry_run=self.dry_run
        )

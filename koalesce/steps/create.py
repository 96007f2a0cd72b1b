"""The step `create`: make objects that mustn't be there yet."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import model_validator

from koalesce.kube import ApiError
from koalesce.steps.objects.acting import Approach, ObjectAction


class Create(ObjectAction, key="create"):
    """Create objects. One that is there already is a failure (`AlreadyExists`).

    `metadata.generateName` works: the name is an output of the step. What the test makes is labelled as its own, and deleted at its
    end.
    """

    done_word: ClassVar[str] = "created"

    @model_validator(mode="after")
    def _check_sources(self) -> Create:
        if not self.has_sources:
            raise ValueError("create needs at least one of object, objects, file and files")
        return self

    @classmethod
    def _takes_generated_names(cls) -> bool:
        return True

    def send(self, approach: Approach, target: dict[str, Any]) -> dict[str, Any]:
        """Create one object; one that an earlier attempt has made, its answer being lost, is taken for it."""
        place = approach.place
        try:
            return place.kube.create(target, field_manager=self.field_manager, dry_run=self.dry_run)
        except ApiError as error:
            made = approach.is_made and place.kube.get(place.resource, place.name, place.namespace)
            if not made or error.reason != "AlreadyExists":
                raise
            return made

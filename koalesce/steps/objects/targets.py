"""Which objects a step changes that are there already: one by its name, or all that a selector takes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import Field, StrictBool, model_validator

from koalesce.steps.base import Action, Errored, Failed, Outcome, Step, StepContext
from koalesce.steps.objects.acting import Approach, acted
from koalesce.steps.objects.ownership import Place
from koalesce.steps.objects.reading import Reader
from koalesce.steps.objects.reference import EVERYWHERE, ResourceRef, check_selector
from koalesce.steps.vantage import Selector

_DONE = "objects that are done"
_PLACES = "places"


class Targets(Step):
    """Objects that are there: `resource: KIND/NAME`, or `resource: KIND` and a selector."""

    resource: ResourceRef
    """`KIND/NAME`, or `KIND` with a selector."""
    namespace: str | None = None
    """Where, if not in the test's namespace; with a selector, `"*"` is all namespaces."""
    selector: Selector | None = None
    """All objects with these labels; `""` takes all of the kind. That there is none is a failure."""

    @model_validator(mode="after")
    def _check_target(self) -> Targets:
        if bool(self.resource.name) == (self.selector is not None):
            raise ValueError(f"{self.key} {self.resource}: write either KIND/NAME, or KIND and a selector")
        if self.resource.name and self.namespace == EVERYWHERE:
            raise ValueError(f"{self.resource} is in one namespace; name it")
        if self.selector is not None:
            check_selector(self.selector)
        return self

    @property
    def target_name(self) -> str:
        """The objects in words."""
        with_labels = f" with {self.selector}" if self.selector else ""
        return f"{self.resource}{with_labels}"

    def title(self) -> str:
        """What is done to which objects."""
        return f"{self.key} {self.target_name}"

    def places(self, context: StepContext) -> list[Place]:
        """Where the objects are that were there at the first attempt; one by its name needs not be."""
        if _PLACES not in context.memory:
            reader = Reader.of(context)
            resource = reader.kind(self.resource.kind)
            where = self.namespace or context.namespace
            if self.resource.name:
                names = [(where, self.resource.name)]
            else:
                found = reader.list(resource, None if where == EVERYWHERE else where, self.selector or "")
                names = [(obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in found]
            context.memory[_PLACES] = [
                Place(context.cluster.kube, resource, name, namespace if resource.namespaced else None)
                for namespace, name in names
            ]
        return context.memory[_PLACES]  # type: ignore[no-any-return]  # as it was put there

    def nothing(self) -> Failed:
        """What it means that a selector takes no object."""
        return Failed(f"there are no {self.target_name}", "1 or more objects", "no objects", final=True)


class TargetAction(Targets, Action):
    """An action on objects that are there, each changed by one request."""

    done_word: ClassVar[str] = "changed"
    verb: ClassVar[str] = "change"

    field_manager: str = Field(default="koalesce", min_length=1, max_length=128)
    """Who the API server notes as the manager of the fields."""
    dry_run: StrictBool = False
    """Only ask the API server whether it would accept the change."""

    def act(self, context: StepContext) -> Outcome:
        """Change all objects, those that are done from an attempt before left out; their undos are registered before."""
        places = self.places(context)
        if not places:
            return self.nothing()
        done: dict[Place, dict[str, Any]] = context.memory.setdefault(_DONE, {})
        for place in places:
            if place not in done:
                result = self._change_one(context, place)
                if not isinstance(result, dict):
                    return result
                done[place] = result
        names = [place.short for place in places]
        return acted([done[place] for place in places], names, self.done_word, dry_run=self.dry_run)

    @abstractmethod
    def change(self, approach: Approach) -> dict[str, Any] | Failed:
        """Change one object; Failed where that makes no sense, ApiError where the server refuses."""

    @property
    def changed_subresource(self) -> str:
        """The subresource that is changed; empty for the object itself."""
        return ""

    def _change_one(self, context: StepContext, place: Place) -> dict[str, Any] | Failed | Errored:
        approach = Approach.begin(
            context, place, verb=self.verb, subresource=self.changed_subresource, dry_run=self.dry_run
        )
        if isinstance(approach, Errored):
            return approach
        return approach.send(lambda: self.change(approach))

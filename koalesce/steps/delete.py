"""The step `delete`: objects go, and are gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from koalesce.errors import ClusterError, KoalesceError
from koalesce.kube import ApiError, Resource, UnknownKind
from koalesce.matching.mismatch import and_more
from koalesce.records import dataclass
from koalesce.steps.base import Assertion, Errored, Failed, Files, Outcome, Passed, StepContext
from koalesce.steps.objects.acting import MOST_NAMES, Approach, refused
from koalesce.steps.objects.manifests import delete_order
from koalesce.steps.objects.ownership import Place
from koalesce.steps.objects.reading import Reader
from koalesce.steps.objects.reference import EVERYWHERE, ResourceRef, check_selector
from koalesce.steps.objects.sources import ObjectSources
from koalesce.steps.vantage import Selector


class Delete(ObjectSources, Assertion, key="delete"):
    """Delete objects, and wait until they are gone.

    An object that isn't there from the start is a failure, unless `mayNotExist`. One that is there again with another identity (a
    controller made a new one) counts as gone. What isn't the test's own is deleted only by a test that is `disruptive`, and made
    again at its end where a copy is the same thing (not so for pods, nodes, namespaces, volumes, Jobs, definitions, and what a
    controller makes again by itself).
    """

    short_field: ClassVar[str | None] = "resource"
    writes: ClassVar[bool] = True

    resource: ResourceRef | None = None
    """`KIND/NAME`, or `KIND` with a selector."""
    namespace: str | None = None
    """Where, if not in the test's namespace; for objects out of files, where those are that name none."""
    selector: Selector | None = None
    """Objects with these labels; `""` takes all of the kind."""
    propagation: Literal["Background", "Foreground", "Orphan"] = "Background"
    """What happens to the objects that belong to it."""
    grace_period: StrictInt | None = Field(default=None, ge=0)
    """Seconds that pods are given to end; 0 kills at once."""
    wait: StrictBool = True
    """Whether to wait until the objects are gone."""

    @model_validator(mode="after")
    def _check_target(self) -> Delete:
        if (self.resource is None) != self.has_sources:
            raise ValueError("delete needs exactly one of resource, and object, objects, file or files")
        if self.resource is None and self.selector is not None:
            raise ValueError("a selector needs a resource, such as pods")
        if self.resource is not None and bool(self.resource.name) == (self.selector is not None):
            raise ValueError(f"delete {self.resource}: write either KIND/NAME, or KIND and a selector")
        if self.resource is not None and self.resource.name and self.namespace == EVERYWHERE:
            raise ValueError(f"{self.resource} is in one namespace; name it")
        if self.selector is not None:
            check_selector(self.selector)
        return self

    def title(self) -> str:
        """What is deleted."""
        with_labels = f" with {self.selector}" if self.selector else ""
        return f"delete {self.resource or ', '.join(self.source_names)}{with_labels}"

    def static_problems(self, files: Files) -> list[str]:
        """Files that aren't there, or are no manifests."""
        return self.source_problems(files)

    def attempt(self, context: StepContext) -> Outcome:
        """Ask for the deletion of what was there at the first attempt, and say what of it still is."""
        if "targets" not in context.memory:
            try:
                targets = list(self._find(context))
            except ClusterError:
                raise
            except KoalesceError as error:  # files that can't be had won't come
                return Errored(str(error), final=True)
            if problem := self._problem(context, targets):
                return problem
            context.memory["targets"] = targets
        try:
            return self._delete(context, context.memory["targets"])
        except ApiError as error:
            if error.transient or not 400 <= error.status < 500:
                raise
            return refused(error)

    def _find(self, context: StepContext) -> Iterator[_Target]:
        reader = Reader.of(context)
        if self.resource is None:
            for obj in delete_order(self.read_objects(context, self.namespace)):
                resource = reader.kind_of(obj)
                namespace = obj["metadata"].get("namespace") or self.namespace or context.namespace
                yield _target(reader, resource, namespace, obj["metadata"]["name"])
            return
        resource = reader.kind(self.resource.kind)
        where = self.namespace or context.namespace
        if self.resource.name:
            yield _target(reader, resource, where, self.resource.name)
            return
        for found in reader.list(resource, None if where == EVERYWHERE else where, self.selector or ""):
            yield _Target(
                _place(reader, resource, found["metadata"].get("namespace"), found["metadata"]["name"]), found
            )

    def _problem(self, context: StepContext, targets: list[_Target]) -> Failed | Errored | None:
        """Why nothing may be deleted: what should go isn't there, or is somebody else's."""
        missing = [str(target) for target in targets if target.found is None]
        if not targets:
            missing = [f"{self.resource} with {self.selector}" if self.selector else f"any {self.resource or 'object'}"]
        if missing and not context.may_not_exist:
            said = f"{', '.join(missing)}: there is nothing to delete; say mayNotExist if that is fine"
            return Failed(said, "there, then gone", "missing", final=True, saw_nothing=True)
        for target in targets:
            if target.found is None:
                continue
            approach = Approach.begin(context, target.place, verb="delete")
            if isinstance(approach, Errored):
                return approach
            context.sightings.note(target.place.resource, [target.found])
        return None

    def _delete(self, context: StepContext, targets: list[_Target]) -> Outcome:
        for target in targets:
            if target.found is not None and not target.is_asked:
                self._ask(target)
        there = [target for target in targets if target.found is not None]
        left = [said for target in there if (said := target.left(Reader.of(context)))] if self.wait else []
        if left:
            return Failed(
                f"{left[0]}{and_more(len(left) - 1, 'object')}", "gone", f"{len(left)} still there", "\n".join(left)
            )
        names = ", ".join(str(target) for target in there) if len(there) <= MOST_NAMES else f"{len(there)} objects"
        if not there:
            return Passed("there was nothing to delete, as it may be")
        objects = [target.found for target in there]
        value = objects[0] if len(objects) == 1 else {"items": objects}
        return Passed(f"{names} {'gone' if self.wait else 'will go'}", value)

    def _ask(self, target: _Target) -> None:
        place = target.place
        try:
            place.kube.delete(
                place.resource, place.name, place.namespace,
                propagation=self.propagation, grace_seconds=self.grace_period,
            )  # fmt: skip
        except UnknownKind:
            raise
        except ApiError as error:
            raise error.about(str(place)) from error
        target.is_asked = True


@dataclass(slots=True)
class _Target:
    """One object to delete, as it was found (None: it wasn't there)."""

    place: Place
    found: Mapping[str, Any] | None
    is_asked: bool = False

    def __str__(self) -> str:
        return self.place.short

    def left(self, reader: Reader) -> str:
        """What keeps it there; empty once it's gone, or another is in its place."""
        now = reader.get(self.place.resource, self.place.name, self.place.namespace)
        if now is None or self.found is None or now["metadata"].get("uid") != self.found["metadata"].get("uid"):
            return ""
        finalizers = now["metadata"].get("finalizers")
        return f"{self} still there" + (f", finalizers: {', '.join(finalizers)}" if finalizers else "")


def _place(reader: Reader, resource: Resource, namespace: str | None, name: str) -> Place:
    return Place(reader.view.kube, resource, name, namespace if resource.namespaced else None)


def _target(reader: Reader, resource: Resource, namespace: str, name: str) -> _Target:
    return _Target(_place(reader, resource, namespace, name), reader.get(resource, name, namespace))

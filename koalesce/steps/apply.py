"""The step `apply`: have objects in the cluster as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, StrictBool, model_validator

from koalesce.kube import ApiError, Kube, Resource, UnknownKind
from koalesce.steps.base import Action, Errored, Files, Outcome, Passed, StepContext
from koalesce.steps.manifests import apply_order, with_namespace
from koalesce.steps.reading import Reader, kind_and_name
from koalesce.steps.sources import FileSources

_MOST_NAMES = 4


class Apply(FileSources, Action, key="apply"):
    """Create or change objects by server-side apply.

    Namespaced objects that name no namespace go to the test's own. What the test makes is labelled as its own, and deleted at its
    end; an object that belongs to another test, or to the cluster, isn't touched: that is an error.
    """

    short_field: ClassVar[str | None] = "files"

    object: dict[str, Any] | None = None
    """An object, as it would stand in a manifest."""
    objects: tuple[dict[str, Any], ...] = ()
    """Several objects."""
    namespace: str | None = None
    """The namespace for objects that name none, if not the test's own."""
    field_manager: str = Field(default="koalesce", min_length=1, max_length=128)
    """The field manager of the server-side apply."""
    force: StrictBool = True
    """Whether fields are taken over from other managers; without it that is a conflict, which fails."""
    dry_run: StrictBool = False
    """Only ask the API server whether it would accept the objects."""

    @model_validator(mode="after")
    def _check_sources(self) -> Apply:
        if self.object is None and not self.objects and not self.paths:
            raise ValueError("apply needs at least one of object, objects, file and files")
        for obj in self._inline():
            _check_object(obj)
        return self

    def title(self) -> str:
        """What is applied."""
        names = [*self.paths, *(_called(obj) for obj in self._inline())]
        return f"apply {', '.join(names[:_MOST_NAMES])}" + (
            f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        )

    def static_problems(self, files: Files) -> list[str]:
        """Files that aren't there, or are no manifests."""
        return self.path_problems(files)

    def act(self, context: StepContext) -> Outcome:
        """Apply all objects; the deletion of those that outlive the test's namespace is deferred before."""
        applied = []
        for obj in apply_order([*self._inline(), *self.read_files(context)]):
            done = self._apply(context, obj)
            if isinstance(done, Errored):
                return done
            applied.append(done)
        if not applied:
            return Errored(f"there are no objects in {', '.join(self.paths)}", final=True)
        return Passed(_summary(applied, dry_run=self.dry_run), applied[0] if len(applied) == 1 else {"items": applied})

    def _inline(self) -> Iterator[dict[str, Any]]:
        if self.object is not None:
            yield self.object
        yield from self.objects

    def _apply(self, context: StepContext, obj: Mapping[str, Any]) -> dict[str, Any] | Errored:
        kube = context.cluster.kube
        resource = Reader.of(context).kind_of(obj)
        default = (self.namespace or context.namespace) if resource.namespaced else None
        target = with_namespace(obj, default, context.labels)
        place = _Place(kube, resource, target["metadata"]["name"], target["metadata"].get("namespace"))
        existing = kube.get(resource, place.name, place.namespace, metadata_only=True)
        if stranger := _owner(existing, context, place):
            return Errored(f"{place} belongs to {stranger}; a test may change only what it made", final=True)
        is_lasting = place.namespace != context.namespace  # what is in the test's namespace goes with it
        if is_lasting and not self.dry_run and context.sightings.claim(resource, place.namespace, place.name):
            context.scope.defer(f"delete {place}", place.undo(context))
        done = _sent(
            place, lambda: kube.apply(target, field_manager=self.field_manager, force=self.force, dry_run=self.dry_run)
        )
        if not self.dry_run:
            context.sightings.note(resource, [done])
        return done


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one object is, or will be."""

    kube: Kube
    resource: Resource
    name: str
    namespace: str | None

    def __str__(self) -> str:
        name = f"{self.resource.kind.lower()}/{self.name}"
        return f"{name} in {self.namespace}" if self.namespace else name

    def undo(self, context: StepContext) -> Callable[[], None]:
        """Deletes the object, if it's the test's own by then."""

        def delete() -> None:
            found = self.kube.get(self.resource, self.name, self.namespace, metadata_only=True)
            if found is not None and _is_own(found, context):
                self.kube.delete(self.resource, self.name, self.namespace)

        return delete


def _owner(existing: Mapping[str, Any] | None, context: StepContext, place: _Place) -> str | None:
    """Who else an object belongs to, in words; None if the test may change it."""
    if existing is None or _is_own(existing, context):
        return None
    labels = existing["metadata"].get("labels") or {}
    foreign = [f"{key}={labels[key]}" for key, value in context.labels.items() if labels.get(key, value) != value]
    if foreign:
        return f"another test ({', '.join(foreign)})"
    return None if place.namespace == context.namespace else "the cluster or to a component"


def _is_own(obj: Mapping[str, Any], context: StepContext) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in context.labels.items())


def _sent(place: _Place, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer to a request; an ApiError says which object it is about, and unknown fields are the author's mistake (422)."""
    try:
        return call()
    except UnknownKind:
        raise
    except ApiError as error:
        status = 422 if error.status == 500 and not error.transient else error.status
        raise ApiError(
            f"{place}: {error.message}",
            status=status,
            reason=error.reason,
            causes=error.causes,
            details=error.details,
            hint=error.hint,
        ) from error


def _check_object(obj: Mapping[str, Any]) -> None:
    metadata = obj.get("metadata")
    missing = [field for field in ("apiVersion", "kind") if not isinstance(obj.get(field), str)]
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        missing.append("metadata.name")
    if missing:
        raise ValueError(f"an object needs {', '.join(missing)}")


def _called(obj: Mapping[str, Any]) -> str:
    return f"{str(obj['kind']).lower()}/{obj['metadata']['name']}"


def _summary(applied: list[dict[str, Any]], *, dry_run: bool) -> str:
    names = [kind_and_name(obj) for obj in applied]
    what = ", ".join(names) if len(names) <= _MOST_NAMES else f"{len(names)} objects"
    return f"{what} would be accepted" if dry_run else f"applied {what}"

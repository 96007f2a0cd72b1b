"""What steps that change objects share: whether they may, what is undone afterwards, and how the server's answer is told."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import Field, StrictBool

from koalesce.kube import ApiError, UnknownKind
from koalesce.records import dataclass
from koalesce.steps.base import Action, Errored, Failed, Files, Outcome, Passed, StepContext
from koalesce.steps.objects.manifests import apply_order, with_namespace
from koalesce.steps.objects.ownership import Place, another_run, are_own, being_removed, is_own, marks_of, refusal
from koalesce.steps.objects.reading import Reader, kind_and_name
from koalesce.steps.objects.sources import ObjectSources
from koalesce.steps.objects.undoing import Restoration, deletion, deletion_of_generated, recreation

MOST_NAMES = 4
_DONE = "objects that are done"
_ABSENT = "objects that were absent"
_UNDOS = "undos"
_OWN_PARTS = ("scale", "status")  # subresources that are read and written apart from their object
Answer = TypeVar("Answer", dict[str, Any], Failed, dict[str, Any] | Failed)


@dataclass(frozen=True, slots=True)
class Approach:
    """One object that a step is about to change: it may, and what undoes it is registered.

    `before` is the object now. `is_made`: it wasn't there at the step's first attempt, and is the test's own by now.
    """

    place: Place
    before: dict[str, Any] | None
    is_foreign: bool = False
    is_made: bool = False
    restoration: Restoration | None = None

    @classmethod
    def begin(
        cls,
        context: StepContext,
        place: Place,
        *,
        verb: str = "change",
        subresource: str = "",
        dry_run: bool = False,
        whole: bool = False,
        stays: bool = False,
    ) -> Approach | Errored:
        """Look at the object (`whole`: at more than its metadata), see whether the test may `verb` it, and register the undo.

        `stays`: nothing is to undo it.
        """
        is_guarded = place.is_lasting(context) or context.expects_refusal
        before = place.kube.get(place.resource, place.name, place.namespace, metadata_only=not (whole or is_guarded))
        marks = marks_of(context, place, before) if before is not None else context.labels
        if (
            before is not None
            and before["metadata"].get("deletionTimestamp")
            and (other := another_run(context, marks))
        ):
            raise being_removed(place, other)
        if refused := refusal(context, place, marks, verb):
            return refused
        was_absent: dict[Place, bool] = context.memory.setdefault(_ABSENT, {})
        is_made = was_absent.setdefault(place, before is None) and before is not None and is_own(before, context)
        is_foreign = place.is_lasting(context) and not are_own(marks, context)
        restoration = None
        if is_guarded and not dry_run and not stays:
            if before is None:
                _undo_creation(context, place)
            elif is_foreign or context.expects_refusal:
                restoration = _undo_change(context, place, before, verb, subresource)
        return cls(place, before, is_foreign, is_made, restoration)

    def send(self, call: Callable[[], Answer]) -> Answer:
        """The answer to a request; an ApiError says which object it is about, unknown fields being the author's mistake (422)."""
        try:
            done = call()
        except UnknownKind:
            raise
        except ApiError as error:
            if self.restoration is not None and 400 <= error.status < 500:
                self.restoration.note_refusal()
            is_blamed = error.status == 500 and not error.transient
            raise error.about(str(self.place), status=422 if is_blamed else None) from error
        if self.restoration is not None:
            if isinstance(done, Failed):
                self.restoration.note_refusal()
            else:
                self.restoration.note(done)
        return done

    def expected(self) -> dict[str, Any]:
        """The object as it is; ApiError (NotFound) if there is none."""
        if self.before is None:
            raise ApiError("not found", status=404, reason="NotFound")
        return self.before


def scale_of(place: Place) -> dict[str, Any]:
    """The scale subresource of an object; ApiError if there is no such object, or its kind can't be scaled."""
    try:
        found = place.kube.get(place.resource, place.name, place.namespace, subresource="scale")
    except UnknownKind as error:
        message = "this kind can't be scaled: it has no scale subresource"
        raise ApiError(message, status=404, reason="NotFound", lasting=True) from error
    if found is None:
        raise ApiError("not found", status=404, reason="NotFound")
    return found


def _undo_creation(context: StepContext, place: Place) -> None:
    """A retry, or a second step about the same object, registers nothing more."""
    undos = context.memory.setdefault(_UNDOS, {})
    if place in undos:
        return
    if context.expects_refusal or context.sightings.claim(place.resource, place.namespace, place.name):
        context.scope.defer(f"delete {place}", deletion(context, place))
    undos[place] = None


def _undo_change(
    context: StepContext, place: Place, before: Mapping[str, Any], verb: str, subresource: str
) -> Restoration | None:
    """The undo of the step's first attempt is that of all of them: it knows the object as it was before."""
    undos: dict[Place, Restoration | None] = context.memory.setdefault(_UNDOS, {})
    if place in undos:
        return undos[place]
    undos[place] = None
    if verb == "delete":
        if create := recreation(place, before):
            context.scope.defer(f"make {place} again{context.sightings.numbered()}", create)
        return None
    as_it_was = scale_of(place) if subresource == "scale" else before
    undos[place] = restoration = Restoration(place, as_it_was, subresource if subresource in _OWN_PARTS else "")
    context.scope.defer(f"put {place} back{context.sightings.numbered()}", restoration.undo)
    return restoration


class ObjectAction(ObjectSources, Action):
    """An action on objects that are written out: each is sent to the API server by itself, in the order of installation."""

    short_field: ClassVar[str | None] = "files"
    done_word: ClassVar[str] = "applied"

    namespace: str | None = None
    """The namespace for objects that name none, if not the test's own."""
    field_manager: str = Field(default="koalesce", min_length=1, max_length=128)
    """Who the API server notes as the manager of the fields."""
    dry_run: StrictBool = False
    """Only ask the API server whether it would accept the objects."""

    def title(self) -> str:
        """What is done to which objects."""
        names = self.source_names
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        return f"{self.key} {', '.join(names[:MOST_NAMES])}{more}"

    def static_problems(self, files: Files) -> list[str]:
        """Files that aren't there, or are no manifests."""
        return self.source_problems(files)

    def act(self, context: StepContext) -> Outcome:
        """Send all objects, those that are done from an attempt before left out; their undos are registered before."""
        objects = apply_order(self.read_objects(context, self.namespace))
        if not objects:
            return Errored(f"there are no objects in {', '.join(self.source_names)}", final=True)
        done: dict[int, dict[str, Any]] = context.memory.setdefault(_DONE, {})
        for index, obj in enumerate(objects):
            if index not in done:
                result = self._send_one(context, obj)
                if isinstance(result, Errored):
                    return result
                done[index] = result
        made = [done[index] for index in range(len(objects))]
        return acted(made, [kind_and_name(obj) for obj in made], self.done_word, dry_run=self.dry_run)

    @abstractmethod
    def send(self, approach: Approach, target: dict[str, Any]) -> dict[str, Any]:
        """Send one object; `target` has its namespace and labels."""

    def _send_one(self, context: StepContext, obj: Mapping[str, Any]) -> dict[str, Any] | Errored:
        kube, resource = context.cluster.kube, Reader.of(context).kind_of(obj)
        default = (self.namespace or context.namespace) if resource.namespaced else None
        target = with_namespace(obj, default, context.labels)
        metadata = target["metadata"]
        place = Place(kube, resource, metadata.get("name") or "", metadata.get("namespace"))
        approach = self._approach(context, place, metadata)
        if isinstance(approach, Errored):
            return approach
        if approach.is_foreign:  # it stays its owner's
            target = with_namespace(obj, default, {})
        done = approach.send(lambda: self.send(approach, target))
        if not self.dry_run:
            context.sightings.note(resource, [done])
        return done

    def _approach(self, context: StepContext, place: Place, metadata: Mapping[str, Any]) -> Approach | Errored:
        if place.name:
            return Approach.begin(context, place, dry_run=self.dry_run)
        if not self.dry_run and (place.is_lasting(context) or context.expects_refusal):
            prefix = metadata["generateName"]
            context.scope.defer(f"delete {place}{prefix}*", deletion_of_generated(context, place, prefix))
        return Approach(place, None)


def acted(done: list[dict[str, Any]], names: list[str], word: str, *, dry_run: bool) -> Passed:
    """What was done, and to what; the value is the object, or `items` of several."""
    what = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} objects"
    message = f"{what} would be accepted" if dry_run else f"{word} {what}"
    return Passed(message, done[0] if len(done) == 1 else {"items": done})


def refused(error: ApiError) -> Failed:
    """The API server's refusal as a verdict: its first line, the others as detail."""
    head, _, rest = error.message.partition("\n")
    return Failed(head, actual=error.reason or None, detail=rest, final=True, refusal=error)

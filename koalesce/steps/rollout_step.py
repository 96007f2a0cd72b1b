"""The step `rollout`: new pods for a workload, and the wait until they are there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr, model_validator

from koalesce.kube import ApiError
from koalesce.matching.flaws import Flaw, refuse
from koalesce.models import Model
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.objects.acting import Approach, acted, refused
from koalesce.steps.objects.ownership import Place
from koalesce.steps.objects.reading import Reader
from koalesce.steps.objects.revisions import Revision, revisions
from koalesce.steps.objects.targets import Targets
from koalesce.steps.workloads.prospects import patiently
from koalesce.steps.workloads.readiness import workload
from koalesce.steps.workloads.rollout import DECIDERS, no_rollout

RESTART = "koalesce.dev/restart"
_WAYS = ("restart", "image", "undo")
_BEGUN = "rollouts that have begun"
_Reference = Annotated[StrictStr, Field(min_length=1)]


class ToRevision(Model):
    """Which revision to go back to."""

    to: StrictInt | None = Field(default=None, ge=1)
    """Its number, as `kubectl rollout history` shows it; default: that of the one before."""


def _previous(value: Any) -> Any:
    return {} if value is True else value


class Rollout(Targets, Assertion, key="rollout"):
    """Roll out new pods of a Deployment, StatefulSet or DaemonSet by exactly one of `restart`, `image` and `undo`, and wait for them.

    A rollout that changes nothing fails: there is nothing to wait for. One that can't succeed any more fails at once, with the reason
    (the progress deadline is exceeded, an image can't be had), unless `patient`. What belongs to a component or to the spec's setup is
    rolled out only by a test that is `disruptive`, and put back at its end, which nothing waits for; a restart leaves nothing to put back, but
    the annotation by which it came about.
    """

    writes: ClassVar[bool] = True

    restart: Literal[True] | None = None
    """The same pods anew, as `kubectl rollout restart` has them."""
    image: dict[StrictStr, _Reference] | None = Field(default=None, min_length=1, examples=[{"web": "nginx:1.29"}])
    """New images, by the names of containers."""
    undo: (
        Annotated[ToRevision, BeforeValidator(_previous, json_schema_input_type=Literal[True] | ToRevision)] | None
    ) = None
    """Back to the revision before (true), or to another one: `{to: 3}`."""
    wait: StrictBool = True
    """Whether to wait until it is rolled out."""

    @model_validator(mode="after")
    def _check_kind(self) -> Rollout:
        said = no_rollout(self.resource.kind)
        refuse([Flaw(("resource",), said)] if said else [], self)
        return self

    @model_validator(mode="after")
    def _check_way(self) -> Rollout:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            said = f"got {' and '.join(given)}" if given else "got none"
            raise ValueError(f"rollout needs exactly one of {', '.join(_WAYS)}; {said}")
        return self

    def title(self) -> str:
        """What is rolled out, and how."""
        way = next(way for way in _WAYS if getattr(self, way) is not None)
        return f"rollout {self.target_name}: {way}"

    def attempt(self, context: StepContext) -> Outcome:
        """Begin what hasn't begun yet, and look at what has."""
        places = self.places(context)
        if not places:
            return self.nothing()
        begun: dict[Place, dict[str, Any]] = context.memory.setdefault(_BEGUN, {})
        for place in places:
            if place not in begun:
                result = self._begin(context, place)
                if not isinstance(result, dict):
                    return result
                begun[place] = result
        return self._look(context, begun)

    def _begin(self, context: StepContext, place: Place) -> dict[str, Any] | Failed | Errored:
        try:
            approach = Approach.begin(context, place, verb="roll out", whole=True, stays=bool(self.restart))
            return approach if isinstance(approach, Errored) else approach.send(lambda: self._change(context, approach))
        except ApiError as error:
            if error.transient or not 400 <= error.status < 500:
                raise
            return refused(error)

    def _change(self, context: StepContext, approach: Approach) -> dict[str, Any] | Failed:
        place, before = approach.place, approach.expected()
        if problem := _obstacle(place, before):
            return Failed(problem, final=True, saw_nothing=before["kind"] not in DECIDERS)
        body = self._body(context, place, before)
        if isinstance(body, Failed):
            return body
        patch, kind = body
        after = place.kube.patch(place.resource, place.name, place.namespace, patch, type=kind)
        if after["metadata"].get("generation") == before["metadata"].get("generation"):
            return Failed(f"{place} is so already: nothing was rolled out", "a change", "none", final=True)
        return after

    def _body(
        self, context: StepContext, place: Place, before: Mapping[str, Any]
    ) -> tuple[Any, Literal["strategic", "json"]] | Failed:
        """The patch, and its type; Failed where there is none."""
        if self.restart:
            template: Any = {"metadata": {"annotations": {RESTART: secrets.token_hex(8)}}}
            return {"spec": {"template": template}}, "strategic"
        if self.image is not None:
            return _images(place, before["spec"]["template"]["spec"], self.image)
        found = _earlier(
            place,
            revisions(Reader.of(context), before),
            before["spec"]["template"],
            self.undo.to if self.undo else None,
        )
        if isinstance(found, Failed):
            return found
        return [{"op": "replace", "path": "/spec/template", "value": dict(found.template)}], "json"

    def _look(self, context: StepContext, begun: Mapping[Place, dict[str, Any]]) -> Outcome:
        names = [place.short for place in begun]
        if not self.wait:
            return acted(list(begun.values()), names, "began to roll out", dry_run=False)
        reader, objects = Reader.of(context), []
        for place, after in begun.items():
            obj = reader.get(place.resource, place.name, place.namespace)
            if obj is None or obj["metadata"].get("uid") != after["metadata"].get("uid"):
                return Failed(f"{place} was deleted while it was rolled out", final=True)
            outcome = workload(reader, obj)
            if not isinstance(outcome, Passed):
                return patiently(outcome) if context.patient else outcome
            objects.append(obj)
        return acted(objects, names, "rolled out", dry_run=False)


def _obstacle(place: Place, obj: Mapping[str, Any]) -> str:
    """Why nothing would roll out; empty if nothing keeps it from it."""
    if obj["kind"] not in DECIDERS:
        return f"{place} has no rollout; {', '.join(DECIDERS)} have"
    if obj["spec"].get("paused"):
        return f"{place} is paused: nothing is rolled out until spec.paused is false"
    if (obj["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return f"{place} has the update strategy OnDelete: nothing is rolled out until its pods are deleted"
    return ""


def _images(
    place: Place, pod: Mapping[str, Any], images: Mapping[str, str]
) -> tuple[Any, Literal["strategic", "json"]] | Failed:
    lists = {field: [one["name"] for one in pod.get(field) or ()] for field in ("initContainers", "containers")}
    known = [name for names in lists.values() for name in names]
    if missing := [name for name in images if name not in known]:
        said = f"{place} has no container {', '.join(missing)}; it has {', '.join(known)}"
        return Failed(said, ", ".join(missing), ", ".join(known), final=True, saw_nothing=True)
    spec = {
        field: [{"name": name, "image": images[name]} for name in names if name in images]
        for field, names in lists.items()
        if any(name in images for name in names)
    }
    return {"spec": {"template": {"spec": spec}}}, "strategic"


def _earlier(place: Place, known: list[Revision], now: Mapping[str, Any], number: int | None) -> Revision | Failed:
    """The revision to go back to."""
    numbers = ", ".join(str(one.number) for one in known) or "none"
    if number is not None:
        found = next((one for one in known if one.number == number), None)
        if found is None:
            return Failed(
                f"{place} has no revision {number}; there is {numbers}",
                str(number),
                numbers,
                final=True,
                saw_nothing=True,
            )
        return found
    others = [one for one in known if not one.is_of(now)]
    if not others:
        return Failed(f"{place} has no revision before this one", "2 or more revisions", numbers, final=True)
    return others[-1]

"""Whose an object is: a test changes what it made, and what is in its namespace; all else belongs to somebody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from koalesce.kube import ApiError, Resource
from koalesce.kube.marks import COMPONENT_LABEL, RUN_LABEL, TEST_LABEL
from koalesce.records import dataclass
from koalesce.steps.base import Errored, StepContext

if TYPE_CHECKING:
    from koalesce.kube import Kube

MARKS = (RUN_LABEL, TEST_LABEL, COMPONENT_LABEL)
_UNAVAILABLE = 503
_SETUP = "setup"  # what the spec's setup is called as a test
_DISTURBING = frozenset({"delete", "roll out", "scale"})  # what takes a shared object away from other tests

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one object is, or will be."""

    kube: Kube
    resource: Resource
    name: str
    namespace: str | None

    def __str__(self) -> str:
        return f"{self.short} in {self.namespace}" if self.namespace else self.short

    @property
    def short(self) -> str:
        """The object as people call it in its own namespace: `pod/web-0`."""
        return f"{self.resource.kind.lower()}/{self.name}"

    def is_lasting(self, context: StepContext) -> bool:
        """Whether what is done to it outlives the test's namespace."""
        return self.namespace != context.namespace


def is_own(obj: Object, context: StepContext) -> bool:
    """Whether the test that runs has made an object."""
    return are_own(labels_of(obj), context)


def labels_of(obj: Object) -> Mapping[str, str]:
    """An object's labels."""
    return obj["metadata"].get("labels") or {}


def marks_of(context: StepContext, place: Place, existing: Object) -> dict[str, str]:
    """What is said about an object's owner by its labels, or by those of its namespace if a controller made it."""
    return _marks(existing) or _marks_of_namespace(context, place)


def are_own(marks: Mapping[str, str], context: StepContext) -> bool:
    """Whether the owner is the test that runs."""
    return all(marks.get(key) == value for key, value in context.labels.items())


def refusal(context: StepContext, place: Place, marks: Mapping[str, str], verb: str) -> Errored | None:
    """Why the test may not `verb` (change, delete, scale, roll out) an object with these marks; None if it may."""
    if are_own(marks, context):
        return None
    if other := another_run(context, marks):
        return _belongs(place, other)
    if context.disruptive:
        return None
    if owner := _shared_owner(marks):
        return _belongs(place, owner, verb) if verb in _DISTURBING else None
    if TEST_LABEL in marks:
        return _belongs(place, f"another test ({TEST_LABEL}={marks[TEST_LABEL]})")
    return _belongs(place, "the cluster", verb) if place.is_lasting(context) else None


def another_run(context: StepContext, marks: Mapping[str, str]) -> str:
    """The other run that an object with these marks belongs to, in words; empty if it's none's."""
    run = marks.get(RUN_LABEL, context.labels.get(RUN_LABEL))
    return f"another run ({RUN_LABEL}={run})" if run != context.labels.get(RUN_LABEL) else ""


def being_removed(place: Place, owner: str) -> ApiError:
    """That an object of somebody else is on its way out, for which a step waits as for a server that isn't ready."""
    return ApiError(f"{place} of {owner} is being deleted", status=_UNAVAILABLE, reason="BeingDeleted")


def disruptive_only(verb: str) -> str:
    """Who may do it, in words."""
    done = "roll it out" if verb == "roll out" else f"{verb} it"
    return f"only a test that says disruptive: true may {done}"


def _marks_of_namespace(context: StepContext, place: Place) -> dict[str, str]:
    """Whose the namespace is that an object without marks is in (a controller made it); nothing is said of the test's own."""
    if place.namespace is None or not place.is_lasting(context):
        return {}
    namespace = place.kube.get(place.kube.resource("namespaces"), place.namespace, metadata_only=True)
    return _marks(namespace) if namespace is not None else {}


def _marks(obj: Object) -> dict[str, str]:
    labels = labels_of(obj)
    return {key: labels[key] for key in MARKS if key in labels}


def _shared_owner(marks: Mapping[str, str]) -> str:
    """The part of the spec that all tests share an object of, in words; empty if it's none of these."""
    if COMPONENT_LABEL in marks:
        return f"the component {marks[COMPONENT_LABEL]}"
    return "the spec's setup" if marks.get(TEST_LABEL) == _SETUP else ""


def _belongs(place: Place, owner: str, verb: str = "") -> Errored:
    rule = disruptive_only(verb) if verb else "a test may change only what it made"
    return Errored(f"{place} belongs to {owner}; {rule}", final=True)

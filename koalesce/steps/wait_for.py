"""The step `wait-for`: a condition, a rollout, existence, deletion, or a value."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator, model_validator

from koalesce.matching.jsonpath import compile_path
from koalesce.matching.partial import Matching
from koalesce.steps.base import Assertion, Errored, Failed, Files, Outcome, Passed, StepContext
from koalesce.steps.comparing import matching
from koalesce.steps.path_match import NOTHING, PathMatch
from koalesce.steps.pods import why_not_ready
from koalesce.steps.prospects import patiently
from koalesce.steps.readiness import end_of_condition, workload
from koalesce.steps.reading import Reader, condition, explained
from koalesce.steps.reference import Found, Judged, Quantified, named
from koalesce.steps.rollout import DECIDERS

_WAYS = ("condition", "rollout", "exists", "deleted", "jsonpath")
_READY = ("ready", "containersready", "initialized", "podreadytostartcontainers")
_STATUSES = ("True", "False", "Unknown")


class WaitFor(Quantified, Assertion, key="wait-for"):
    """Wait until objects are as they have to be, as `kubectl wait` and `kubectl rollout status` do.

    Fails at once, with the reason, where it can no longer come true (an image can't be had, a Job has failed), unless `patient`.
    """

    condition: str | None = None
    """A condition that has to be True (`Ready`), or another status (`Ready=False`)."""
    rollout: Literal[True] | None = None
    """A Deployment, DaemonSet or StatefulSet has all its replicas updated and available."""
    exists: Literal[True] | None = None
    """The object is there."""
    deleted: Literal[True] | None = None
    """The object is gone, after the test has seen it (or `mayNotExist`)."""
    jsonpath: PathMatch | None = None
    """A value of the object, by `path`, complies with a matcher."""

    @field_validator("condition")
    @classmethod
    def _check_condition(cls, text: str | None) -> str | None:
        kind, equals, status = (text or "X").partition("=")
        if not kind or (equals and status not in _STATUSES and "${{" not in status):
            raise ValueError(f'"{text}" is no condition; write Ready, or Ready=False (True, False or Unknown)')
        return text

    @model_validator(mode="after")
    def _check_way(self) -> WaitFor:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            said = f"got {' and '.join(given)}" if given else "got none"
            raise ValueError(f"wait-for needs exactly one of {', '.join(_WAYS)}; {said}")
        if self.deleted and (self.any_ or self.count is not None):
            raise ValueError("deleted is said of all objects of a selection; write all: true")
        return self

    def title(self) -> str:
        """The object and what it is waited for."""
        return f"{self.described} {self._wanted()}"

    def static_problems(self, files: Files) -> list[str]:
        """A path with operators that don't fit it."""
        return self.jsonpath.path_problems() if self.jsonpath else []

    def attempt(self, context: StepContext) -> Outcome:
        """Look once."""
        if self.deleted:
            return self._look_for_absence(context)
        return self.judge(context, lambda obj: Judged(self._look_on(context, obj)), self._wanted())

    def _wanted(self) -> str:
        if self.condition:
            kind, _, status = self.condition.partition("=")
            return kind if status in ("", "True") else f"{kind}={status}"
        if self.jsonpath:
            return f"{self.jsonpath.path} {self.jsonpath.expected}"
        return "rolled out" if self.rollout else "there" if self.exists else "gone"

    def _look_on(self, context: StepContext, obj: dict[str, Any]) -> Passed | Failed | Errored:
        outcome = self._look(context, obj)
        return patiently(outcome) if context.patient else outcome

    def _look(self, context: StepContext, obj: dict[str, Any]) -> Passed | Failed | Errored:
        name = named(obj, context.namespace)
        if self.condition:
            return _look_at_condition(context, obj, name, *self.condition.partition("=")[::2])
        if self.rollout:
            return _look_at_rollout(context, obj, name)
        if self.jsonpath:
            return _look_at_path(obj, name, self.jsonpath, matching(context, obj))
        return Passed(f"{name} is there", obj)

    def _look_for_absence(self, context: StepContext) -> Outcome:
        found = self.look_for(context)
        if not isinstance(found, Found):
            is_fine = isinstance(found, Failed) and context.may_not_exist
            return Passed(f"{self.described} gone, and so is their kind") if is_fine else found
        if found.objects:
            names = [f"{named(obj, context.namespace)}{_deletion(obj)}" for obj in found.objects]
            return Failed(
                f"{self.described} still there: {', '.join(names[:10])}",
                "gone",
                f"{len(names)} there",
                "\n".join(names),
            )
        if self.was_seen(context, found):
            return Passed(f"{self.described} gone")
        if context.may_not_exist:
            return Passed(f"{self.described} gone, or never there")
        return Failed(
            f"{self.described}: nothing like that was seen by this test, so nothing was deleted; say mayNotExist if that is fine",
            "seen, then gone", "never seen", saw_nothing=True,
        )  # fmt: skip


def _look_at_condition(
    context: StepContext, obj: dict[str, Any], name: str, kind: str, status: str
) -> Passed | Failed | Errored:
    wanted = status or "True"
    found = condition(obj, kind)
    actual = str(found.get("status")) if found else "missing"
    behind = _is_behind(obj, found)
    if actual == wanted and not behind:
        return Passed(f"{name} is {kind}" if wanted == "True" else f"{name}: {kind} is {wanted}", obj)
    if wanted == "True" and (end := end_of_condition(Reader.of(context), obj, name, kind)):
        return end
    if behind:
        return Failed(
            f"{name}: {kind} is {actual}, but of an older spec ({behind})", wanted, f"{actual}, of an older spec"
        )
    why = (
        why_not_ready(obj) if obj["kind"] == "Pod" and kind.lower() in _READY and wanted == "True" else explained(found)
    )
    said = f"{name}: {kind} is {actual}" + (f": {why}" if why else "")
    return Failed(said, wanted, actual, saw_nothing=found is None)


def _is_behind(obj: dict[str, Any], found: Any) -> str:
    """Whether a condition was set for a spec that has changed since, as `kubectl wait` asks it; empty if not."""
    generation = obj["metadata"].get("generation")
    observed = (found or {}).get("observedGeneration") or (obj.get("status") or {}).get("observedGeneration")
    if isinstance(generation, int) and isinstance(observed, int) and observed < generation:
        return f"generation {observed} of {generation}"
    return ""


def _look_at_rollout(context: StepContext, obj: dict[str, Any], name: str) -> Passed | Failed | Errored:
    if obj["kind"] not in DECIDERS:
        return Failed(f"{name} has no rollout; {', '.join(DECIDERS)} have", final=True)
    outcome = workload(Reader.of(context), obj)
    return Passed(outcome.message, obj) if isinstance(outcome, Passed) else outcome


def _look_at_path(obj: dict[str, Any], name: str, match: PathMatch, how: Matching) -> Passed | Failed:
    mismatch = match.look(obj, how)
    if mismatch is None:
        hits = compile_path(match.path).find(obj)
        return Passed(f"{name}: {match.path} complies", obj if hits else None)
    saw_nothing = mismatch.actual == NOTHING
    return Failed(f"{name}: {mismatch}", mismatch.expected, mismatch.actual, saw_nothing=saw_nothing)


def _deletion(obj: dict[str, Any]) -> str:
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata:
        return ""
    finalizers = metadata.get("finalizers")
    return f" (being deleted; finalizers: {', '.join(finalizers)})" if finalizers else " (being deleted)"

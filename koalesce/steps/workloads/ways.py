"""What one object is waited for: a condition, a rollout, existence, or a value."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from koalesce.matching.flaws import Flaw
from koalesce.matching.jsonpath import compile_path
from koalesce.matching.partial import Matching
from koalesce.models import Model
from koalesce.steps.base import Errored, Failed, Passed, StepContext
from koalesce.steps.objects.comparing import matching
from koalesce.steps.objects.path_match import NOTHING, PathMatch, path_flaws
from koalesce.steps.objects.reading import Reader, condition, explained
from koalesce.steps.objects.reference import named
from koalesce.steps.workloads.rollout import DECIDERS, no_rollout

Look = Passed | Failed | Errored
_READY = ("ready", "containersready", "initialized", "podreadytostartcontainers")
_STATUSES = ("True", "False", "Unknown")


class Way(Model):
    """What an object has to be like: exactly one of these."""

    ways: ClassVar[tuple[str, ...]] = ("condition", "rollout", "exists", "jsonpath")

    condition: str | None = None
    """A condition that has to be True (`Ready`), or another status (`Ready=False`)."""
    rollout: Literal[True] | None = None
    """A Deployment, DaemonSet or StatefulSet has all its replicas updated and available."""
    exists: Literal[True] | None = None
    """The object is there."""
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
    def _check_way(self) -> Way:
        names = {name: field.alias or name for name, field in type(self).model_fields.items()}
        given = [names[way] for way in self.ways if getattr(self, way) is not None]
        if len(given) != 1:
            said = f"got {' and '.join(given)}" if given else "got none"
            raise ValueError(f"{self.what} needs exactly one of {', '.join(names[way] for way in self.ways)}; {said}")
        return self

    def flaws(self, kind: str) -> list[Flaw]:
        """What can't come true of an object of a built-in kind."""
        found = [Flaw(("rollout",), said)] if self.rollout and (said := no_rollout(kind)) else []
        if self.jsonpath is not None:
            found += [flaw.under("jsonpath", "path") for flaw in path_flaws(self.jsonpath.path, kind)]
        return found

    @property
    def what(self) -> str:
        """What this is called in messages."""
        return "this"

    @property
    def wanted(self) -> str:
        """What is waited for, in a few words."""
        if self.condition:
            kind, _, status = self.condition.partition("=")
            return kind if status in ("", "True") else f"{kind}={status}"
        if self.jsonpath:
            return f"{self.jsonpath.path} {self.jsonpath.expected}"
        return "rolled out" if self.rollout else "there"

    def look(self, context: StepContext, obj: dict[str, Any]) -> Look:
        """Look at one object once."""
        name = named(obj, context.namespace)
        if self.condition:
            return _look_at_condition(context, obj, name, *self.condition.partition("=")[::2])
        if self.rollout:
            return _look_at_rollout(context, obj, name)
        if self.jsonpath:
            return _look_at_path(obj, name, self.jsonpath, matching(context, obj))
        return Passed(f"{name} is there", obj)


def look_at_any(ways: list[Way], context: StepContext, obj: dict[str, Any]) -> Look:
    """Whether one of several comes true; it can't any more only if none of them can."""
    looked = [way.look(context, obj) for way in ways]
    for outcome in looked:
        if isinstance(outcome, Passed):
            return outcome
    failed = [outcome for outcome in looked if not isinstance(outcome, Passed)]
    words = " or ".join(way.wanted for way in ways)
    said = f"{named(obj, context.namespace)} is neither {' nor '.join(way.wanted for way in ways)}: " + "; ".join(
        outcome.message for outcome in failed
    )
    is_final = all(outcome.final for outcome in failed)
    if all(isinstance(outcome, Errored) for outcome in failed):
        return Errored(said, final=is_final)
    saw_nothing = all(isinstance(outcome, Failed) and outcome.saw_nothing for outcome in failed)
    return Failed(said, words, "neither", final=is_final, saw_nothing=saw_nothing)


def look_at_all(ways: list[Way], context: StepContext, obj: dict[str, Any]) -> Look:
    """Whether each of several comes true; it can't any more if one of them can't."""
    looked = [way.look(context, obj) for way in ways]
    failed = [outcome for outcome in looked if not isinstance(outcome, Passed)]
    if not failed:
        words = " and ".join(way.wanted for way in ways)
        return Passed(f"{named(obj, context.namespace)}: {words}", obj)
    return next((outcome for outcome in failed if outcome.final), failed[0])


def _look_at_condition(
    context: StepContext, obj: dict[str, Any], name: str, kind: str, status: str
) -> Passed | Failed | Errored:
    wanted = status or "True"
    found = condition(obj, kind)
    actual = str(found.get("status")) if found else "missing"
    behind = _is_behind(obj, found)
    if actual == wanted and not behind:
        return Passed(f"{name} is {kind}" if wanted == "True" else f"{name}: {kind} is {wanted}", obj)
    from koalesce.steps.workloads.pods import why_not_ready  # imported here: validation needs none of it
    from koalesce.steps.workloads.readiness import end_of_condition

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
    from koalesce.steps.workloads.readiness import workload  # as above

    outcome = workload(Reader.of(context), obj)
    return Passed(outcome.message, obj) if isinstance(outcome, Passed) else outcome


def _look_at_path(obj: dict[str, Any], name: str, match: PathMatch, how: Matching) -> Passed | Failed:
    mismatch = match.look(obj, how)
    if mismatch is None:
        hits = compile_path(match.path).find(obj)
        return Passed(f"{name}: {match.path} complies", obj if hits else None)
    saw_nothing = mismatch.actual == NOTHING
    return Failed(f"{name}: {mismatch}", mismatch.expected, mismatch.actual, saw_nothing=saw_nothing)

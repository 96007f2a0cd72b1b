"""The step `wait-for`: a condition, a rollout, existence, deletion, or a value."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from koalesce.matching.flaws import Where, refuse
from koalesce.steps.base import Assertion, Errored, Failed, Files, Outcome, Passed, StepContext
from koalesce.steps.objects.quantified import Judged, Quantified
from koalesce.steps.objects.reference import Found, named
from koalesce.steps.workloads.ways import Way, look_at_all, look_at_any


class WaitFor(Quantified, Way, Assertion, key="wait-for"):
    """Wait until objects are as they have to be, as `kubectl wait` and `kubectl rollout status` do.

    Fails at once, with the reason, where it can no longer come true (an image can't be had, a Job has failed), unless `patient`.
    """

    ways: ClassVar[tuple[str, ...]] = (*Way.ways, "deleted", "any_of", "all_of")

    deleted: Literal[True] | None = None
    """The object is gone, after the test has seen it (or `mayNotExist`)."""
    any_of: list[Way] | None = Field(default=None, min_length=1)
    """Several of condition, rollout, exists and jsonpath, one of which is enough: `[{condition: Complete}, {condition: Failed}]`."""
    all_of: list[Way] | None = Field(default=None, min_length=1)
    """Several of these, each of which has to come true."""

    @model_validator(mode="after")
    def _check_kind(self) -> WaitFor:
        """What can be known wrong by the kind alone: its fields, and that it has no rollout."""
        ways: list[tuple[Where, Way]] = [((), self)]
        ways += [(("anyOf", index), way) for index, way in enumerate(self.any_of or ())]
        ways += [(("allOf", index), way) for index, way in enumerate(self.all_of or ())]
        flaws = [found.under(*where) for where, way in ways for found in way.flaws(self.resource.kind)]
        refuse(flaws, self)
        return self

    @model_validator(mode="after")
    def _check_deleted(self) -> WaitFor:
        if self.deleted and (self.any_ or self.count is not None):
            raise ValueError("deleted is said of all objects of a selection; write all: true")
        return self

    @property
    def what(self) -> str:
        """What this is called in messages."""
        return "wait-for"

    def title(self) -> str:
        """The object and what it is waited for."""
        return f"{self.described} {self.wanted}"

    def static_problems(self, files: Files) -> list[str]:
        """Paths with operators that don't fit them."""
        paths = [way.jsonpath for way in (self, *(self.any_of or ()), *(self.all_of or ()))]
        return [problem for path in paths if path is not None for problem in path.path_problems()]

    @property
    def wanted(self) -> str:
        """What is waited for, in a few words."""
        if self.any_of:
            return " or ".join(way.wanted for way in self.any_of)
        if self.all_of:
            return " and ".join(way.wanted for way in self.all_of)
        return "gone" if self.deleted else super().wanted

    def attempt(self, context: StepContext) -> Outcome:
        """Look once."""
        if self.deleted:
            return self._look_for_absence(context)
        return self.judge(context, lambda obj: Judged(self._look_on(context, obj)), self.wanted)

    def _look_on(self, context: StepContext, obj: dict[str, Any]) -> Passed | Failed | Errored:
        outcome = self._look(context, obj)
        # Where any or a number of objects will do, one that can't comply any more ends nothing.
        is_one_of_many = not self.resource.name and not self.all_
        from koalesce.steps.workloads.prospects import patiently  # imported here: validation needs none of it

        return patiently(outcome) if context.patient or is_one_of_many else outcome

    def _look(self, context: StepContext, obj: dict[str, Any]) -> Passed | Failed | Errored:
        if self.any_of:
            return look_at_any(self.any_of, context, obj)
        return look_at_all(self.all_of, context, obj) if self.all_of else self.look(context, obj)

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


def _deletion(obj: dict[str, Any]) -> str:
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata:
        return ""
    finalizers = metadata.get("finalizers")
    return f" (being deleted; finalizers: {', '.join(finalizers)})" if finalizers else " (being deleted)"

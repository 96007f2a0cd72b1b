"""The step `assert`: objects by what they look like."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from koalesce.matching.flaws import refuse
from koalesce.matching.mismatch import Mismatch
from koalesce.matching.partial import match_members, member_problems
from koalesce.matching.quantifiers import distance
from koalesce.steps.base import Assertion, Failed, Outcome, Passed, StepContext
from koalesce.steps.reading import shortened
from koalesce.steps.reference import Judged, Quantified, named

_MOST = 20


class Assert(Quantified, Assertion, key="assert"):
    """Compare objects with what is written of them.

    In `match`, maps match maps that have at least their keys, and lists match element by element. A map of operators (`{gt: 3}`,
    `{any: {type: Ready}}`, `{contains: 80}`) compares instead; `{equals: {…}}` matches a map with such keys literally.
    """

    match: dict[str, Any] | None = Field(default=None, min_length=1)
    """The part of the object that has to be there."""
    absent: Literal[True] | None = None
    """There is no such object, after the test has seen one (or `mayNotExist`)."""

    @field_validator("match")
    @classmethod
    def _check_match(cls, match: dict[str, Any] | None) -> dict[str, Any] | None:
        refuse(member_problems(match or {}), match)
        return match

    @model_validator(mode="after")
    def _check_form(self) -> Assert:
        if self.absent and (self.match is not None or self.any_ or self.count is not None):
            raise ValueError("absent is said of objects by name, selector or owner, without match, any or count")
        if not self.absent and self.match is None and self.count is None:
            raise ValueError("assert needs match, absent or count")
        return self

    def title(self) -> str:
        """The object, and whether it's to be absent."""
        return f"{self.described} absent" if self.absent else self.described

    def attempt(self, context: StepContext) -> Outcome:
        """Look once."""
        if self.absent:
            return self._look_for_absence(context)
        return self.judge(context, lambda obj: self._look(context, obj), "matching" if self.match else "there")

    def _look(self, context: StepContext, obj: dict[str, Any]) -> Judged:
        name = named(obj, context.namespace)
        found = match_members(self.match or {}, obj)
        if not found:
            return Judged(Passed(f"{name} matches", obj), 0)
        return Judged(_failed(name, found), distance(found))

    def _look_for_absence(self, context: StepContext) -> Outcome:
        found = self.find(context)
        if found.objects:
            names = ", ".join(named(obj, context.namespace) for obj in found.objects[:_MOST])
            return Failed(f"{self.described} there: {names}", "absent", f"{len(found.objects)} there")
        if context.may_not_exist or self.was_seen(context, found):
            return Passed(f"{self.described} absent")
        return Failed(
            f"{self.described}: nothing like that was ever seen by this test, so its absence proves nothing; say mayNotExist if it is meant",
            "seen, then absent", "never seen",
        )  # fmt: skip


def _failed(name: str, found: list[Mismatch]) -> Failed:
    """A failure with a line for each difference."""
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    lines = [f"{one.path or '.'}\n  expected {one.expected}\n  actual   {one.actual}" for one in found[:_MOST]]
    if len(found) > _MOST:
        lines.append(f"… and {len(found) - _MOST} more differences")
    return Failed(f"{name}: {shortened(str(first))}{more}", first.expected, first.actual, "\n".join(lines))

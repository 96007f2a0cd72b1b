"""The step `assert`: objects by what they look like."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from koalesce.expressions import cel
from koalesce.matching.flaws import refuse
from koalesce.matching.mismatch import Mismatch, and_more
from koalesce.matching.partial import Matching, member_problems
from koalesce.matching.quantifiers import distance
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.objects.comparing import is_built_in, matching, pattern_flaws, unknown_field
from koalesce.steps.objects.quantified import Judged, Quantified
from koalesce.steps.objects.reading import shortened
from koalesce.steps.objects.reference import Found, named

_MOST = 20
Part = dict[str, Any]


class Assert(Quantified, Assertion, key="assert"):
    """Compare objects with what is written of them.

    In `match`, maps match maps that have at least their keys. Lists that Kubernetes merges by keys match by these keys: `containers`,
    `volumes` and `env` by `name`, `conditions` by `type`, the `ports` of a container by `containerPort` and `protocol`, those of a
    Service by `port` and `protocol`, and so on, for all built-in kinds (`containerStatuses` by `name`, too), and `conditions` of every
    kind: each element that is written has to be there, at any place and among others. So do the elements of sets (`finalizers`). All
    other lists, and empty ones, have to be of equal length, and match element by element, in order; `{equals: […]}` says that of
    any list.

    A map of operators (`{gt: 3}`, `{any: {type: Ready}}`, `{contains: 80}`) compares instead; `{equals: {…}}` matches a map with such
    keys literally. `{absent: true}`, or null, says that a field isn't there: of a field that the kind doesn't have, or of one in a
    map that isn't there itself, it proves nothing and fails, unless `mayNotExist`.
    """

    match: Part | None = Field(default=None, min_length=1)
    """The part of the object that has to be there."""
    any_of: list[Part] | None = Field(default=None, min_length=1)
    """Parts as in `match`, one of which is enough."""
    all_of: list[Part] | None = Field(default=None, min_length=1)
    """Parts as in `match`, each of which has to be there."""
    cel: str | None = Field(default=None, min_length=1, examples=["self.status.readyReplicas == self.spec.replicas"])
    """An expression of CEL that is true of the object, `self` (besides `match`); needs the extra `koalesce[cel]`. A key that isn't there
    counts as not yet; `has(self.status.x)` asks for it. Other errors are final."""
    absent: Literal[True] | None = None
    """There is no such object, after the test has seen one (or `mayNotExist`)."""

    @field_validator("match")
    @classmethod
    def _check_match(cls, match: Part | None) -> Part | None:
        refuse(member_problems(match or {}), match)
        return match

    @field_validator("cel")
    @classmethod
    def _check_cel(cls, text: str | None) -> str | None:
        if text is not None and "${{" not in text:
            cel.check_condition(text, ("self",))
        return text

    @field_validator("any_of", "all_of")
    @classmethod
    def _check_parts(cls, parts: list[Part] | None) -> list[Part] | None:
        refuse([flaw.under(index) for index, part in enumerate(parts or ()) for flaw in member_problems(part)], parts)
        return parts

    @model_validator(mode="after")
    def _check_form(self) -> Assert:
        if self.absent and (self._parts or self.cel or self.any_ or self.count is not None):
            raise ValueError("absent is said of objects by name, selector, owner or where, without match, any or count")
        if not self.absent and not self._parts and self.cel is None and self.count is None:
            raise ValueError("assert needs match, anyOf, allOf, cel, absent or count")
        return self

    @model_validator(mode="after")
    def _check_kind(self) -> Assert:
        kind = self.resource.kind
        flaws = [flaw.under("match") for flaw in pattern_flaws(kind, self.match or {})]
        for name, parts in (("anyOf", self.any_of), ("allOf", self.all_of)):
            for index, part in enumerate(parts or ()):
                flaws += [flaw.under(name, index) for flaw in pattern_flaws(kind, part)]
        refuse(flaws, self)
        return self

    def _how_to_quantify(self) -> str:
        return "that there is none is count: 0, without absent" if self.absent else super()._how_to_quantify()

    def title(self) -> str:
        """The object, and whether it's to be absent."""
        return f"{self.described} absent" if self.absent else self.described

    def attempt(self, context: StepContext) -> Outcome:
        """Look once."""
        if self.absent:
            return self._look_for_absence(context)
        return self.judge(
            context, lambda obj: self._look(context, obj), "matching" if self._parts or self.cel else "there"
        )

    @property
    def _parts(self) -> list[Part]:
        return [*([self.match] if self.match else ()), *(self.all_of or ()), *(self.any_of or ())]

    def _look(self, context: StepContext, obj: dict[str, Any]) -> Judged:
        name = named(obj, context.namespace)
        if not context.may_not_exist:
            for part in self._parts:
                if stranger := unknown_field(part, obj):
                    return Judged(Failed(f"{name}: {stranger}", "a field of this kind", "unknown", saw_nothing=True), 0)
        found = self._compare(matching(context, obj), obj)
        if not found:
            return self._judge_by_cel(name, obj)
        failed = _failed(name, found, is_blind=_is_blind(found, obj))
        if self.resource.name or self.all_:
            from koalesce.steps.workloads.hopeless import with_prospects  # imported here: validation needs none of it

            return Judged(with_prospects(failed, context, obj, found), distance(found))
        return Judged(failed, distance(found))

    def _judge_by_cel(self, name: str, obj: dict[str, Any]) -> Judged:
        """What `cel` says of an object that has all the rest: what can't be evaluated is never true."""
        if self.cel is None:
            return Judged(Passed(f"{name} matches", obj), 0)
        try:
            holds = cel.compiled(self.cel, ("self",)).holds({"self": obj})
        except cel.CelFailed as error:
            said = f"{name}: {self.cel}: {error}"
            if not error.is_absent:
                return Judged(Errored(said, final=True), 1)
            return Judged(Failed(said, "true", "missing", saw_nothing=True), 1)
        if holds:
            return Judged(Passed(f"{name}: {self.cel}", obj), 0)
        return Judged(Failed(f"{name}: {self.cel} is false", "true", "false"), 1)

    def _compare(self, match: Matching, obj: dict[str, Any]) -> list[Mismatch]:
        """What the object lacks: of `match` and `allOf`, then of the nearest of `anyOf`."""
        parts = [*([self.match] if self.match else ()), *(self.all_of or ())]
        found = [mismatch for part in parts for mismatch in match.members(part, obj)]
        if self.any_of:
            nearest = min((match.members(part, obj) for part in self.any_of), key=distance)
            if len(self.any_of) > 1:
                nearest = [_of_nearest(one, len(self.any_of)) for one in nearest]
            found += nearest
        return found

    def _look_for_absence(self, context: StepContext) -> Outcome:
        found = self.look_for(context)
        if not isinstance(found, Found):
            return self._of_unknown_kind(context, found)
        if found.objects:
            names = ", ".join(named(obj, context.namespace) for obj in found.objects[:_MOST])
            return Failed(f"{self.described} there: {names}", "absent", f"{len(found.objects)} there")
        if context.may_not_exist or self.was_seen(context, found):
            return Passed(f"{self.described} absent")
        return Failed(
            f"{self.described}: nothing like that was ever seen by this test, so its absence proves nothing{found.passed_over}; say mayNotExist if it is meant",
            "seen, then absent", "never seen", saw_nothing=True,
        )  # fmt: skip

    def _of_unknown_kind(self, context: StepContext, why: Failed | Errored) -> Outcome:
        if isinstance(why, Failed) and context.may_not_exist:
            return Passed(f"{self.described} absent, and so is their kind")
        return why


def _of_nearest(found: Mismatch, count: int) -> Mismatch:
    said = f"{found.message} (by the nearest of {count} alternatives)"
    return Mismatch(found.path, found.expected, found.actual, said)


def _is_blind(found: list[Mismatch], obj: dict[str, Any]) -> bool:
    """Whether nothing was seen of what is written: all of it is missing, and nobody knows such fields."""
    return all(mismatch.actual == "missing" for mismatch in found) and not is_built_in(obj)


def _failed(name: str, found: list[Mismatch], *, is_blind: bool) -> Failed:
    """A failure with a line for each difference."""
    first = found[0]
    more = and_more(len(found) - 1, "difference")
    lines = [f"{one.path or '.'}\n  expected {one.expected}\n  actual   {one.actual}" for one in found[:_MOST]]
    if len(found) > _MOST:
        lines.append(f"… and {len(found) - _MOST} more differences")
    said = f"{name}: {shortened(str(first))}{more}"
    return Failed(said, first.expected, first.actual, "\n".join(lines), saw_nothing=is_blind)

"""How many of the objects that a step is about have to comply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, StrictInt, model_validator

from koalesce.matching.matcher import Matcher
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.objects.reference import Found, Selection

_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about one object; `distance` says how far a failure is from passing."""

    outcome: Passed | Failed | Errored
    distance: int = 1


class Quantified(Selection):
    """A selection, and how many of its objects have to comply."""

    all_: Literal[True] | None = Field(default=None, alias="all")
    """Each of the selected objects has to comply, and there has to be one (or as many as `count` says)."""
    any_: Literal[True] | None = Field(default=None, alias="any")
    """One of the selected objects is enough."""
    count: StrictInt | dict[str, Any] | None = None
    """So many of the selected objects have to comply, or as many as in `{ge: 2}`; with `all`, so many have to be there, too."""

    @model_validator(mode="after")
    def _check_quantifier(self) -> Quantified:
        if self.any_ and (self.all_ or self.count is not None):
            raise ValueError("any stands alone: say all, any or count")
        quantified = self.all_ or self.any_ or self.count is not None
        if self.resource.name and quantified:
            raise ValueError(f"{self.resource} is one object; all, any and count are for several")
        if not self.resource.name and not quantified:
            raise ValueError(f"which of {self.described}? {self._how_to_quantify()}")
        if self.count is not None:
            Matcher(count=self.count)
        return self

    def _how_to_quantify(self) -> str:
        return "say all: true, any: true or count: N"

    def judge(self, context: StepContext, look: Callable[[dict[str, Any]], Judged], wanted: str) -> Outcome:
        """Look at each selected object, and combine; `wanted` completes "2 of 3 pods …"."""
        found = self.look_for(context)
        if not isinstance(found, Found):
            return self._unfindable(context, found)
        if self.resource.name:
            from koalesce.steps.workloads.prospects import end_of_object  # imported here: validation needs none of it

            gone = end_of_object(context, self.described, found.objects[0] if found.objects else None)
            if found.objects:
                return look(found.objects[0]).outcome
            return gone or Failed(f"{self.described} does not exist", wanted, "missing", saw_nothing=True)
        if not found.objects:
            return self._none_found(context, found, wanted)
        judged = [look(obj) for obj in found.objects]
        return self._combined(context, found, judged, wanted)

    def _none_found(self, context: StepContext, found: Found, wanted: str) -> Outcome:
        if self._counts(0) and not self.all_ and (context.may_not_exist or self.was_seen(context, found)):
            return Passed(f"there are no {self.described}", {"items": []})
        hint = "; say mayNotExist if none may be there from the start" if self._counts(0) else ""
        said = f"there are no {self.described}{found.passed_over}{hint}"
        return Failed(said, wanted, "no objects", saw_nothing=True)

    def _unfindable(self, context: StepContext, why: Failed | Errored) -> Outcome:
        """Of a kind that the cluster doesn't know there are no objects, for those who say that this may be."""
        if (
            isinstance(why, Failed)
            and context.may_not_exist
            and self._counts(0)
            and not self.all_
            and not context.negated
        ):
            return Passed(f"there are no {self.described}, nor their kind", {"items": []})
        return why

    def _combined(self, context: StepContext, found: Found, judged: list[Judged], wanted: str) -> Outcome:
        total = len(judged)
        good = sum(isinstance(one.outcome, Passed) for one in judged)
        if self._complies(good, total):
            if doubt := self._doubt(judged, good, may_be_blind=context.may_not_exist):
                return doubt
            return Passed(f"{good} of {total} {self.described} {wanted}", {"items": found.objects})
        bad = sorted((one for one in judged if not isinstance(one.outcome, Passed)), key=lambda one: one.distance)
        from koalesce.steps.workloads.prospects import is_end

        ends = [one.outcome for one in bad if is_end(one.outcome)]
        if ends and (self.all_ or (len(ends) == total and isinstance(ends[0], Errored))):
            return ends[0]
        messages = [one.outcome.message for one in bad]
        detail = "\n".join(_lines(bad))
        said = f"{good} of {total} {self.described} {wanted}, expected {self._expectation()}"
        if messages:
            said += f"; {'nearest: ' if self.any_ else ''}{messages[0]}"
        saw_nothing = bool(bad) and not good and all(getattr(one.outcome, "saw_nothing", False) for one in bad)
        return Failed(said, f"{self._expectation()} {wanted}", f"{good} of {total}", detail, saw_nothing=saw_nothing)

    def _doubt(self, judged: list[Judged], good: int, *, may_be_blind: bool) -> Failed | Errored | None:
        """Why a count that is right proves nothing: too many others couldn't be found out, or none of all was a look at something."""
        broken = [one.outcome for one in judged if isinstance(one.outcome, Errored)]
        if broken and not self._complies(good + len(broken), len(judged)):
            return broken[0]
        blind = [one.outcome for one in judged if isinstance(one.outcome, Failed) and one.outcome.saw_nothing]
        if may_be_blind or not blind or len(blind) < len(judged):
            return None
        said = f"{blind[0].message}, so that none complies proves nothing; say mayNotExist: true if that is meant"
        return Failed(said, "something to look at", "nothing", saw_nothing=True)

    def _complies(self, good: int, total: int) -> bool:
        if self.all_:
            return good == total and (self.count is None or self._counts(total))
        return good > 0 if self.any_ else self._counts(good)

    def _counts(self, number: int) -> bool:
        return self.count is not None and Matcher(count=self.count).check([None] * number) is None

    def _expectation(self) -> str:
        if self.any_:
            return "any"
        if self.count is None:
            return "all"
        text = (
            str(self.count)
            if isinstance(self.count, int)
            else " and ".join(f"{key} {value}" for key, value in self.count.items())
        )
        return f"all of {text}" if self.all_ else text


def _lines(bad: list[Judged]) -> list[str]:
    lines: list[str] = []
    for one in bad[:_MOST_LINES]:
        lines.append(one.outcome.message)
        if not isinstance(one.outcome, Passed):
            lines += [f"  {line}" for line in one.outcome.detail.splitlines()]
    return [*lines, f"… and {len(bad) - _MOST_LINES} more"] if len(bad) > _MOST_LINES else lines

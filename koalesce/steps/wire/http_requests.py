"""The verdict about one or several HTTP requests."""

from __future__ import annotations

from collections.abc import Sequence

from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import Mismatch
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.wire.http_answer import WantedHttp, body_of, ending, excerpt, to_value
from koalesce.steps.wire.probing import Observed

_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and what came of it; `seen_with` is the command by which people see the same."""

    source: str
    observed: Observed
    seen_with: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """All requests of a step. `any_will_do`: of each source one answer that fits is enough. `is_single`: outputs read the only answer itself."""

    name: str
    asked: Sequence[Asked]
    wanted: WantedHttp
    any_will_do: bool
    is_single: bool
    distinct: Matcher | None

    def verdict(self, unproven: str, context: StepContext) -> Outcome:
        """One outcome for all. `unproven` says which source has not shown that it can reach anything, empty if all have."""
        looks = [(each, self.wanted.look(each.observed)) for each in self.asked]
        fitting = {each.source for each, found in looks if found is None} if self.any_will_do else set()
        failures = [(each, found) for each, found in looks if found is not None and each.source not in fitting]
        if unproven and (context.negated or not failures):
            return Errored(unproven)
        if failures:
            return self._failed(failures, context)
        uneven = self._look_at_distinct(self.distinct) if self.distinct else None
        return uneven or self._passed()

    def _passed(self) -> Passed:
        values = [to_value(each.observed) for each in self.asked]
        ends = [
            str(each.observed.http["status"] if each.observed.http else ending(each.observed)) for each in self.asked
        ]
        sources = len({each.source for each in self.asked})
        times = len(self.asked) // sources
        words = [", ".join(dict.fromkeys(ends))]
        words += [f"{times} times"] if times > 1 else []
        words += [f"from {sources} sources"] if sources > 1 else []
        return Passed(f"{self.name}: {' '.join(words)}", values[0] if self.is_single else values)

    def _look_at_distinct(self, wanted: Matcher) -> Failed | None:
        bodies = [body_of(each.observed.http or {}).strip() for each in self.asked]
        found = wanted.check(len(set(bodies)))
        if found is None:
            return None
        lines = [f"{bodies.count(body)} times: {body[:200]!r}" for body in dict.fromkeys(bodies)]
        message = f"{self.name}: the number of different bodies {found.message}"
        return Failed(message, expected=found.expected, actual=found.actual, detail="\n".join(lines[:_MOST_LINES]))

    def _failed(self, failures: Sequence[tuple[Asked, Mismatch]], context: StepContext) -> Failed | Errored:
        """What is wrong, with the command that shows the first failure; Errored where nothing is known about what was hoped for."""
        first, found = failures[0]
        where = f"{first.source}: " if first.source not in ("", "host") else ""
        unit = "sources" if len({each.source for each in self.asked}) == len(self.asked) else "requests"
        count = f" ({len(failures)} of {len(self.asked)} {unit})" if len(self.asked) > 1 else ""
        lines = [f"{other.source}: {mismatch.message}" for other, mismatch in failures[1 : _MOST_LINES + 1]]
        lines += excerpt(first.observed)
        if first.seen_with:
            lines.append(f"see it with: {first.seen_with}")
        message, detail = f"{self.name}: {found.message}{count}", "\n".join(lines)
        if all(self._is_unclear(ending(each.observed), context) for each, _ in failures):
            return Errored(f"{where}{message}", detail)
        return Failed(f"{where}{message}", expected=found.expected, actual=found.actual, detail=detail)

    def _is_unclear(self, end: str, context: StepContext) -> bool:
        """Whether a request that ended so says nothing: it couldn't be tried, and none but an answer was hoped for, or `never` one."""
        if context.negated and end == "nameError":
            return True
        return end == "error" and (context.negated or self.wanted.ends != ("answer",))

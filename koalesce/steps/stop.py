"""End what goes on in the background, and say how it must have gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, field_validator, model_validator

from koalesce.durations import format_seconds
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import Mismatch, and_more
from koalesce.matching.numbers import NumberMatcher
from koalesce.matching.operators import is_operators
from koalesce.matching.partial import Matching, problems
from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, Outcome, Passed, Step
from koalesce.steps.identifier import Identifier
from koalesce.steps.wire.lasting import Lasting
from koalesce.suggestions import closest

if TYPE_CHECKING:  # few tests ask again and again
    from koalesce.steps.wire.traffic import Report

_SOMETIMES = ("json", "tls")  # what steps give of output that is JSON, and of answers over TLS
_OF_EACH = ("all", "any", "none", "match")
EndStatus = Literal["passed", "failed", "error", "stopped"]
OF_TRIES = ("sent", "lost", "wrong", "longestGap", "latency")  # fields that are for what is asked again and again


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How something in the background ended. `stopped`: it was told to before its own end; `outcome` is what can be said until there.

    `report` is of what was asked again and again.
    """

    title: str
    outcome: Outcome
    seconds: float
    stopped: bool = False
    report: Report | None = None

    @property
    def status(self) -> EndStatus:
        """The word for it."""
        match self.outcome:
            case Failed():
                return "failed"
            case Errored():
                return "error"
            case _:
                return "stopped" if self.stopped else "passed"

    @property
    def message(self) -> str:
        """How it went, in words."""
        return getattr(self.outcome, "message", "")

    def told(self) -> str:
        """All there is to say, for a file of its own."""
        took = format_seconds(self.seconds)
        return "\n".join(part for part in (f"{self.title}: {self.status} after {took}", self.given()) if part)

    def given(self) -> str:
        """What it gave until it ended."""
        if not isinstance(self.outcome, Passed):
            return "\n".join(part for part in (self.message, getattr(self.outcome, "detail", "")) if part)
        return json.dumps(self.outcome.value, indent=2, ensure_ascii=False) if self.outcome.value is not None else ""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Statuses = Annotated[
    list[EndStatus], BeforeValidator(_as_list, json_schema_input_type=EndStatus | list[EndStatus]), Field(min_length=1)
]


class Latencies(Model):
    """How long right answers took, those of all sources and targets together."""

    p50: Lasting | None = None
    """Half of them at most took so long: `{lt: 5ms}`."""

    p90: Lasting | None = None
    """90 % of them."""

    p99: Lasting | None = None
    """99 % of them."""

    max: Lasting | None = None
    """The slowest."""

    @model_validator(mode="after")
    def _says_something(self) -> Latencies:
        if not self.model_fields_set:
            raise ValueError("say at least one of p50, p90, p99 and max")
        return self


class Stop(Step, key="stop"):
    """End what a `background` step (or a step with an `id`, such as `port-forward`) has started, and say how it must have gone.

    A command gets SIGTERM, and SIGKILL two seconds later; in a pod, too, where the node or a shell in its container allows it (an error says
    where neither does). What is looked at again and again gets one last look. Where it had failed before, the stop fails and says why.
    `outputs` read what it gave: a command's `stdout`, `stderr` and `exitCode` (null if it was still running), an answer's `body`, and so on.

    Of what was asked again and again (`every`), nothing may have been lost and nothing wrong, unless `lost` and `wrong` say otherwise. What was under
    way is waited for. A failure shows the gaps and the steps that ran meanwhile on one axis of time. `outputs` and `match` read `sent`, `lost`, `wrong`,
    `longestGap` and `latency` (in seconds), `gaps` and `flows`.
    """

    short_field = "id"

    id: Identifier
    """What to end: the id of an earlier step in the same list."""

    wait: StrictBool = False
    """Wait until it ends by itself, up to the step's `timeout`, instead of ending it."""

    status: Statuses | None = None
    """How it must have ended: `passed`, `failed`, `error`, `stopped` (it was still running), or a list of them; default: `passed` or
    `stopped`, with `wait` only `passed`."""

    match: Any = None
    """What it gave, in part: `{stdout: {contains: ok}, exitCode: 0}`; maps match in part, matchers may stand anywhere in it. Of a key that such a
    step doesn't give, absence proves nothing and fails, unless `mayNotExist`."""

    sent: NumberMatcher | None = None
    """How many tries there were (of what has `every`): `{ge: 100}`. There must have been one of each source to each target in any case."""

    lost: NumberMatcher | None = None
    """How many tries may have had no answer, however that came about; default: 0."""

    wrong: NumberMatcher | None = None
    """How many tries may have had another answer than the expected, or an answer where none was to be; default: 0."""

    longest_gap: Lasting | None = None
    """The longest time in which something was asked and no right answer came, of any source from any target: `{lt: 500ms}`."""

    latency: Latencies | None = None
    """How long right answers took: `{p99: {lt: 50ms}}`."""

    @field_validator("sent", "lost", "wrong", mode="before")
    @classmethod
    def _is_a_number(cls, value: Any) -> Any:
        if value is None or isinstance(value, bool) or (isinstance(value, str) and "${{" not in value):
            raise ValueError("a number of tries, or a matcher such as {le: 2}")
        return value

    @field_validator("match")
    @classmethod
    def _is_sound(cls, expected: Any) -> Any:
        if found := problems(expected):
            raise ValueError("; ".join(str(one) for one in found))
        return expected

    def title(self) -> str:
        """What it ends."""
        return f"wait for {self.id}" if self.wait else f"stop {self.id}"

    def ongoing(self) -> str:
        """What it ends."""
        return self.id

    def judge(self, ended: Ended, *, may_not_exist: bool = False) -> Outcome:
        """Whether it went as it must; `may_not_exist`: what is to be absent of what it gave need not be anything that it gives."""
        outcome = self._judged(ended, may_not_exist=may_not_exist)
        return replace(outcome, series=ended.report.series()) if ended.report is not None else outcome

    def _judged(self, ended: Ended, *, may_not_exist: bool) -> Passed | Failed | Errored:
        if ended.report is not None and isinstance(ended.outcome, Passed):
            problem = self._look_at_tries(ended.title, ended.report)
            if problem is not None:
                return problem
        if self.wait and ended.stopped:
            message = f"{ended.title}: had not ended by itself after {format_seconds(ended.seconds)}"
            return Failed(message, expected="an end", actual="going on", detail=ended.given(), final=True)
        allowed: list[EndStatus] = self.status or (["passed"] if self.wait else ["passed", "stopped"])
        if ended.status not in allowed:
            return _unlike(ended, allowed)
        value = getattr(ended.outcome, "value", None)
        if "match" in self.model_fields_set:
            if value is None:
                return Failed(f"{ended.title}: {ended.status}, and gave nothing to match", actual=ended.message or None)
            if found := Matching(may_not_exist=may_not_exist)(self.match, value):
                return _mismatched(ended, found)
            if not may_not_exist and (unknown := _unknown_key(self.match, value)):
                return Failed(f"{ended.title}: {unknown}", "a key that there is", "unknown", final=True)
        took = format_seconds(ended.seconds)
        return Passed(f"{ended.title}: {ended.status} after {took}", value)

    def _look_at_tries(self, title: str, report: Report) -> Failed | Errored | None:
        """What was asked again and again, and isn't as it must be."""
        found = next(((what, each) for what, each in self._looks(report) if each is not None), None)
        if found is not None:
            what, mismatch = found
            message = f"{title}: {what} {mismatch.message} ({report.summary()}){_meanwhile(report)}"
            return Failed(message, mismatch.expected, mismatch.actual, report.timeline(), final=True)
        problem = report.unproven or (
            f"{report.total('untried')} tries could not be made" if report.total("untried") else ""
        )
        return Errored(f"{title}: {problem}", report.timeline(), final=True) if problem else None

    def _looks(self, report: Report) -> Iterator[tuple[str, Mismatch | None]]:
        silent = next((tally for tally in report.tallies if not tally.tries), None)
        if silent is not None:
            said = f"is 0 of {silent.flow.name}, expected at least 1"
            yield "the number of tries", Mismatch("", "at least 1", "0", said)
        zero = Matcher.model_validate(0)
        yield "lost", (self.lost or zero).check(report.total("lost"))
        yield "wrong", (self.wrong or zero).check(report.total("wrong"))
        yield "sent", self.sent.check(report.sent) if self.sent is not None else None
        yield "longestGap", self.longest_gap.check(report.longest_gap) if self.longest_gap is not None else None
        taken = report.latency()
        for name, limit in self.latency or ():
            none = Mismatch("", "an answer", "none", "can't be told: there was no right answer")
            yield f"latency.{name}", (limit.check(taken[name]) if taken else none) if limit is not None else None

    def unfinished(self, title: str) -> Failed:
        """What there is to say while it's waited for."""
        return Failed(f"{title}: still going on", expected="an end", actual="going on")


def _meanwhile(report: Report) -> str:
    """The steps that ran in the longest gap."""
    longest = report.worst()
    return f", while: {', '.join(longest.steps)}" if longest is not None and longest.steps else ""


def _unlike(ended: Ended, allowed: list[EndStatus]) -> Failed | Errored:
    """It ended otherwise than it must."""
    detail = getattr(ended.outcome, "detail", "")
    message = f"{ended.title}: {ended.status} after {format_seconds(ended.seconds)}"
    message += f": {ended.message}" if ended.message else ""
    if ended.status == "error":
        return Errored(message, detail=detail, final=True)
    expected, actual = getattr(ended.outcome, "expected", None), getattr(ended.outcome, "actual", None)
    if ended.status == "failed":
        return Failed(message, expected, actual, detail, final=True)
    return Failed(message, expected=" or ".join(allowed), actual=ended.status, final=True)


def _unknown_key(expected: Any, value: Any) -> str:
    """A key that is to be absent, and that is none of those which a step gives, as a clause; empty if there is none."""
    if isinstance(value, list):  # of several places or requests, which give the same keys
        parts = [expected[name] for name in _OF_EACH if name in expected] if is_operators(expected) else []
        return next((said for part in parts for one in value[:1] if (said := _unknown_key(part, one))), "")
    if is_operators(expected) or not isinstance(expected, dict) or not isinstance(value, dict):
        return ""
    known = [*value, *_SOMETIMES]
    unknown = next((key for key in expected if key not in known), None)
    if unknown is None:
        return ""
    meant = closest(str(unknown), known)
    hint = f"did you mean {meant}?" if meant else f"it gives {', '.join(known)}; say mayNotExist: true if that is meant"
    return f"it gives no {unknown}, so that this isn't there proves nothing; {hint}"


def _mismatched(ended: Ended, found: list[Mismatch]) -> Failed:
    first = found[0]
    more = and_more(len(found) - 1, "difference")
    lines = [f"{one.path or '.'}\n  expected {one.expected}\n  actual   {one.actual}" for one in found[:20]]
    return Failed(f"{ended.title}: {first}{more}", first.expected, first.actual, "\n".join(lines), final=True)

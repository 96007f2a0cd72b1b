"""End what goes on in the background, and say how it must have gone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, field_validator

from koalesce.durations import format_seconds
from koalesce.matching.mismatch import Mismatch, and_more
from koalesce.matching.operators import is_operators
from koalesce.matching.partial import Matching, problems
from koalesce.steps.base import Errored, Failed, Outcome, Passed, Step
from koalesce.steps.identifier import Identifier
from koalesce.suggestions import closest

_SOMETIMES = ("json", "tls")  # what steps give of output that is JSON, and of answers over TLS
_OF_EACH = ("all", "any", "none", "match")
EndStatus = Literal["passed", "failed", "error", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How something in the background ended. `stopped`: it was told to before its own end; `outcome` is what can be said until there."""

    title: str
    outcome: Outcome
    seconds: float
    stopped: bool = False

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


class Stop(Step, key="stop"):
    """End what a `background` step (or a step with an `id`, such as `port-forward`) has started, and say how it must have gone.

    A command gets SIGTERM, and SIGKILL two seconds later; in a pod, too, where the node or a shell in its container allows it (an error says
    where neither does). What is looked at again and again gets one last look. Where it had failed before, the stop fails and says why.
    `outputs` read what it gave: a command's `stdout`, `stderr` and `exitCode` (null if it was still running), an answer's `body`, and so on.
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

    @field_validator("match")
    @classmethod
    def _is_sound(cls, expected: Any) -> Any:
        if found := problems(expected):
            raise ValueError("; ".join(str(one) for one in found))
        return expected

    def title(self) -> str:
        """What it ends."""
        return f"wait for {self.id}" if self.wait else f"stop {self.id}"

    def judge(self, ended: Ended, *, may_not_exist: bool = False) -> Outcome:
        """Whether it went as it must; `may_not_exist`: what is to be absent of what it gave need not be anything that it gives."""
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

    def unfinished(self, title: str) -> Failed:
        """What there is to say while it's waited for."""
        return Failed(f"{title}: still going on", expected="an end", actual="going on")


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

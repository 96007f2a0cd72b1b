"""End what goes on in the background, and say how it must have gone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, field_validator

from koalesce.durations import format_seconds
from koalesce.matching.mismatch import Mismatch, and_more
from koalesce.matching.partial import partial_match, problems
from koalesce.steps.base import Errored, Failed, Outcome, Passed, Step
from koalesce.steps.identifier import Identifier

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
    """What it gave, in part: `{stdout: {contains: ok}, exitCode: 0}`; maps match in part, matchers may stand anywhere in it."""

    @field_validator("match")
    @classmethod
    def _is_sound(cls, expected: Any) -> Any:
        if found := problems(expected):
            raise ValueError("; ".join(str(one) for one in found))
        return expected

    def title(self) -> str:
        """What it ends."""
        return f"wait for {self.id}" if self.wait else f"stop {self.id}"

    def judge(self, ended: Ended) -> Outcome:
        """Whether it went as it must."""
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
            if found := partial_match(self.match, value):
                return _mismatched(ended, found)
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


def _mismatched(ended: Ended, found: list[Mismatch]) -> Failed:
    first = found[0]
    more = and_more(len(found) - 1, "difference")
    lines = [f"{one.path or '.'}\n  expected {one.expected}\n  actual   {one.actual}" for one in found[:20]]
    return Failed(f"{ended.title}: {first}{more}", first.expected, first.actual, "\n".join(lines), final=True)

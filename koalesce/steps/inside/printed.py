"""What a command left behind, judged: exit code, standard output and standard error, as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field, StrictBool, field_validator, model_validator

from koalesce.kube import ExecTimeout
from koalesce.matching.diff import render
from koalesce.matching.flaws import refuse
from koalesce.matching.matcher import Matcher, MatcherFields
from koalesce.matching.mismatch import Mismatch
from koalesce.matching.numbers import NumberMatcher
from koalesce.matching.partial import Matching, partial_match, problems
from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.base import Failed, Passed, StepContext

if TYPE_CHECKING:
    from koalesce.process import CommandTimeout

_TAIL = 4000
# What shells, and the programs that run one in another place, give where a command can't be run (POSIX, 2.8.2).
_NOT_RUN = (126, 127)


class TextMatcher(MatcherFields):
    """What a text must be like; a bare string means equality. Line breaks at its end don't count.

    With `json` the text is read as JSON and matched in part, as an object of Kubernetes is; with `lines`, a matcher looks at the list of its
    lines: `{lines: {count: 3}}`, `{lines: {any: {matches: "^ok"}}}`.
    """

    json_: Any = Field(default=None, alias="json")
    """What the text holds as JSON: maps match in part, lists element by element; matchers may stand anywhere in it."""

    lines: Matcher | None = None
    """What the list of its lines is like; a text that is empty has none."""

    trimmed: StrictBool = False
    """Leave out white space at the beginning and at the end, of the text and of each of its lines."""

    @model_validator(mode="before")
    @classmethod
    def _bare_value_means_equals(cls, value: Any) -> Any:
        if isinstance(value, str | int | float):
            return {"equals": str(value).rstrip("\r\n")}
        return value

    @model_validator(mode="after")
    def _says_something(self) -> TextMatcher:
        if not self.operators() and not self.wants_json and self.lines is None:
            raise ValueError("a matcher needs at least one operator, such as contains, matches, equals, json or lines")
        return self

    @field_validator("json_")
    @classmethod
    def _is_sound(cls, expected: Any) -> Any:
        return check_pattern(expected)

    @property
    def wants_json(self) -> bool:
        """Whether the text must be JSON."""
        return "json_" in self.model_fields_set

    def look(self, text: str, match: Matching = partial_match) -> Mismatch | None:
        """The first thing that the text lacks, or None; `match` says how JSON is compared."""
        text = text.strip() if self.trimmed else text.rstrip("\r\n")
        if self.operators() and (found := self.check(text)) is not None:
            return found
        if self.lines is not None and (found := self._look_at_lines(self.lines, text)) is not None:
            return found
        return _look_at_json(self.json_, text, match) if self.wants_json else None

    def _look_at_lines(self, matcher: Matcher, text: str) -> Mismatch | None:
        lines = [line.strip() if self.trimmed else line for line in text.splitlines()]
        found = matcher.check(lines)
        return None if found is None else found.under(" lines")


def check_pattern(expected: Any) -> Any:
    """What is to be matched in part, if it can be; ValueError says what is wrong with its matchers."""
    refuse(problems(expected), expected)
    return expected


def json_matching(context: StepContext) -> Matching:
    """How JSON of programs is compared: nothing is known about its type."""
    return Matching(may_not_exist=context.may_not_exist)


def _look_at_json(expected: Any, text: str, match: Matching) -> Mismatch | None:
    try:
        actual = json.loads(text)
    except ValueError as error:
        said = f"is not JSON ({error}): {render(text)}"
        return Mismatch("", render(expected), render(text), said)
    return next(iter(match(expected, actual)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a command left. `name` is where it ran, empty if that goes without saying; `code` is None for one that was ended."""

    name: str
    code: int | None
    stdout: str
    stderr: str
    seconds: float
    truncated: bool = False

    @classmethod
    def until_now(cls, name: str, error: CommandTimeout | ExecTimeout) -> Printed:
        """What a command had printed when it was ended; it has no exit code of its own."""
        out, err = (text.decode("utf-8", "replace") for text in (error.stdout, error.stderr))
        return cls(name=name, code=None, stdout=out, stderr=err, seconds=0.0)

    def to_value(self, *, named: bool = False) -> dict[str, Any]:
        """What outputs read from; `json` is there if standard output is JSON, `name` (where it ran) if it's one of several."""
        value: dict[str, Any] = {"name": self.name} if named else {}
        value |= {"stdout": self.stdout.rstrip("\r\n"), "stderr": self.stderr.rstrip("\r\n"), "exitCode": self.code}
        try:
            return {**value, "json": json.loads(self.stdout)}
        except ValueError:
            return value

    def detail(self) -> str:
        """The ends of both streams, for a report."""
        parts = [
            f"{name}:\n{_indent(text)}"
            for name, text in (("stdout", self.stdout), ("stderr", self.stderr))
            if text.strip()
        ]
        return "\n".join(parts)


class PrintedMatchers(Model):
    """What a command must leave: `exitCode`, `stdout`, `stderr`."""

    stdout: TextMatcher | None = None
    """What it prints: a text, or a matcher such as `{contains: kube-bridge}`, `{matches: "^ok"}`, `{json: {…}}`."""

    stderr: TextMatcher | None = None
    """What it prints on standard error."""

    exit_code: NumberMatcher | None = None
    """Its exit code, a number or a matcher; 0 if nothing is said. 126 and 127, which mean a command that can't be run, satisfy `equals` and `in` only."""

    def judge_stopped(self, printed: Printed, context: StepContext) -> Passed | Failed:
        """A command that was ended before its own end: what it had printed until then must be as said."""
        if self.exit_code is not None:
            message = f"{f'{printed.name}: ' if printed.name else ''}was stopped, and has no exit code of its own"
            return Failed(message, expected="an exit code", actual="stopped", detail=printed.detail())
        said = "was still running when it was stopped"
        return self.judge(printed, context) or Passed(
            f"{printed.name}: {said}" if printed.name else said, printed.to_value()
        )

    def judge(self, printed: Printed, context: StepContext) -> Failed | None:
        """What isn't as it must be, or None."""
        match = json_matching(context)
        where = f"{printed.name}: " if printed.name else ""
        code = printed.code
        looks: list[tuple[str, Callable[[], Mismatch | None]]] = [
            ("exit code", lambda: None if code is None else _look_at_code(self.exit_code, code)),
            ("stdout", lambda: self.stdout.look(printed.stdout, match) if self.stdout else None),
            ("stderr", lambda: self.stderr.look(printed.stderr, match) if self.stderr else None),
        ]
        for what, look in looks:
            if (found := look()) is not None:
                cut = " (the output was cut)" if printed.truncated and what != "exit code" else ""
                message = f"{where}{what}{f' {found.path.strip()}' if found.path else ''} {found.message}{cut}"
                return Failed(
                    message, found.expected, found.actual, printed.detail(),
                    saw_nothing=what == "exit code" and code in _NOT_RUN,
                )  # fmt: skip
        return None


def _look_at_code(matcher: Matcher | None, code: int) -> Mismatch | None:
    found = (matcher or Matcher(equals=0)).check(code)
    if found is None and matcher is not None and code in _NOT_RUN and not {"equals", "in"} & matcher.operators().keys():
        expected = render(matcher.operators())
        said = f"is {code}, as of a command that can't be run, which proves nothing; say {{equals: {code}}} if that is meant"
        return Mismatch("", expected, str(code), said)
    return found


def _indent(text: str) -> str:
    cut = text if len(text) <= _TAIL else f"… ({len(text) - _TAIL} characters before)\n{text[-_TAIL:]}"
    return "\n".join(f"  | {line}" for line in cut.rstrip().splitlines())


def written(value: str | float | bool) -> str:
    """A value of an environment variable as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)

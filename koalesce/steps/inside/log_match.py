"""What a log must hold, and what not: texts, lines, lines that are JSON, and how many of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictInt, StrictStr, field_validator, model_validator

from koalesce.matching.diff import render
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import MISSING
from koalesce.matching.partial import partial_match
from koalesce.matching.regex import compile_regex
from koalesce.matching.unseen import unseen
from koalesce.models import Model
from koalesce.steps.base import Errored, Failed
from koalesce.steps.inside.printed import check_pattern
from koalesce.steps.objects.reading import shortened

_SHOWN = 10
_WIDTH = 400
_LONGEST_LINE = 64 * 1024


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _readable(pattern: str) -> str:
    if "${{" not in pattern:
        compile_regex(pattern)
    return pattern


def _all_readable(patterns: list[str]) -> list[str]:
    return [_readable(pattern) for pattern in patterns]


Texts = Annotated[
    list[Annotated[StrictStr, Field(min_length=1)]],
    BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]


class LinePattern(Model):
    """Lines that are like all of this, and how many of them there must be; at least one if nothing is said."""

    contains: Texts | None = None
    """Texts that the line has, all of them."""

    not_contains: Texts | None = None
    """Texts that it hasn't."""

    matches: StrictStr | None = None
    """A regular expression that is found in it."""

    not_matches: StrictStr | None = None
    """A regular expression that isn't found in it."""

    json_: Any = Field(default=None, alias="json")
    """The line is JSON and matches this in part: maps have at least these keys, matchers may stand anywhere. Where none is like this, another line
    must be JSON and have one of the keys, unless `mayNotExist`."""

    count: StrictInt | dict[str, Any] | None = None
    """So many such lines, or as many as in `{ge: 2}` or `{le: 5}`; 0: none."""

    @model_validator(mode="after")
    def _says_something(self) -> LinePattern:
        if not (self.model_fields_set - {"count"}):
            raise ValueError("say what the lines are like: contains, notContains, matches, notMatches or json")
        for pattern in (self.matches, self.not_matches):
            _readable(pattern or "")
        if self.count is not None:
            Matcher(count=self.count)
        return self

    @field_validator("json_")
    @classmethod
    def _is_sound(cls, expected: Any) -> Any:
        return check_pattern(expected)

    @property
    def forbids(self) -> bool:
        """Whether no such line at all would be fine."""
        return self.counts(0)

    def counts(self, number: int) -> bool:
        """Whether so many lines are right."""
        if self.count is None:
            return number > 0
        return Matcher(count=self.count).check([None] * number) is None

    def is_exceeded(self, number: int) -> bool:
        """Whether so many lines are too many, so that more of them wouldn't help."""
        if isinstance(self.count, dict):
            most = {name: limit for name, limit in self.count.items() if name in ("le", "lt")}
            return bool(most) and Matcher(count=most).check([None] * number) is not None
        return self.count is not None and number > self.count

    def takes(self, line: str) -> bool:
        """Whether a line is like this."""
        if any(text not in line for text in self.contains or ()) or any(
            text in line for text in self.not_contains or ()
        ):
            return False
        cut = line[:_LONGEST_LINE]
        if self.matches is not None and not compile_regex(self.matches).search(cut):
            return False
        if self.not_matches is not None and compile_regex(self.not_matches).search(cut):
            return False
        return "json_" not in self.model_fields_set or self._is_such_json(line)

    def _is_such_json(self, line: str) -> bool:
        document = _read(line)
        return document is not MISSING and not partial_match(self.json_, document)

    def doubt(self, lines: list[str]) -> str:
        """Why it proves nothing that no line is like this: none of them is JSON, or has any of the keys; empty if that is a look at something."""
        if "json_" not in self.model_fields_set or any(map(self.takes, lines)) or not lines:
            return ""
        hint = "so that none is like this proves nothing; say mayNotExist: true if that is meant"
        documents = [found for line in lines if (found := _read(line)) is not MISSING]
        if not documents:
            return f"none of {_counted(len(lines))} is JSON, {hint}"
        lacking = unseen(self.json_, documents, partial_match)
        return f"none of {_counted(len(documents))} of JSON has {lacking}, {hint}" if lacking else ""

    def __str__(self) -> str:
        written = self.model_dump(by_alias=True, exclude_unset=True, exclude={"count"})
        return "with " + ", ".join(f"{name} {render(value)}" for name, value in written.items())

    def expectation(self) -> str:
        """How many lines are right, in words."""
        if self.count is None:
            return "at least 1"
        if isinstance(self.count, int):
            return str(self.count)
        return " and ".join(f"{name} {value}" for name, value in self.count.items())


Patterns = Annotated[
    list[LinePattern],
    BeforeValidator(
        lambda value: [value] if isinstance(value, dict) else value,
        json_schema_input_type=LinePattern | list[LinePattern],
    ),
    Field(min_length=1),
]


class LogMatchers(Model):
    """What a log must hold, and what not."""

    contains: Texts | None = None
    """A text that is there, or several; it may span lines."""

    not_contains: Texts | None = None
    """A text that isn't there, or several."""

    matches: Annotated[Texts, Field(min_length=1)] | None = None
    """A regular expression that is found in a line, or several, each in some line."""

    not_matches: Texts | None = None
    """A regular expression that is found in no line, or several."""

    lines: Patterns | None = None
    """What lines are there, and how many: `{contains: retry, count: {le: 3}}`, `{json: {level: error}, count: 0}`; or a list of these."""

    @field_validator("matches", "not_matches")
    @classmethod
    def _are_readable(cls, patterns: list[str] | None) -> list[str] | None:
        return None if patterns is None else _all_readable(patterns)

    @model_validator(mode="after")
    def _says_something(self) -> LogMatchers:
        if not any((self.contains, self.not_contains, self.matches, self.not_matches, self.lines)):
            raise ValueError("say what the log must hold: contains, notContains, matches, notMatches or lines")
        return self

    @property
    def demands(self) -> bool:
        """Whether an empty log would not do."""
        return bool(self.contains or self.matches) or any(not pattern.forbids for pattern in self.lines or ())

    def holds(self) -> str:
        """What a log holds that is as it must be, as a clause."""
        parts = [f"has {render(text)}" for text in self.contains or ()]
        parts += [f"has a line that matches /{pattern}/" for pattern in self.matches or ()]
        parts += [f"hasn't {render(text)}" for text in self.not_contains or ()]
        parts += [f"has no line that matches /{pattern}/" for pattern in self.not_matches or ()]
        parts += [f"lines {each}: {each.expectation()}" for each in self.lines or ()]
        return ", ".join(parts)

    def problem(
        self, name: str, text: str, *, is_whole: bool = True, may_not_exist: bool = False, only_grows: bool = False
    ) -> Failed | Errored | None:
        """What is wrong with a log, or None; what isn't there can't be said of one whose beginning is missing.

        Of a log that `only_grows`, what it has and mustn't have is final.
        """
        lines = text.splitlines()
        found = list(self._problems(name, text, lines))
        if only_grows and (final := next((each for each in found if each.final), None)):
            return final
        if found:
            return replace(found[0], final=False)
        for each in self.lines or () if not may_not_exist else ():
            if said := each.doubt(lines):
                return Failed(f"{name}: {said}", f"{each}", "nothing of it", _tail(lines), saw_nothing=True)
        if not is_whole and (
            self.not_contains or self.not_matches or any(each.count is not None for each in self.lines or ())
        ):
            return Errored(
                f"{name}: the log is too long to be read whole, so nothing is known to be absent; narrow it with since",
                final=True,
            )
        return None

    def _problems(self, name: str, text: str, lines: list[str]) -> Iterator[Failed]:
        for wanted in self.contains or ():
            if wanted not in text:
                yield _missing(name, f"{render(wanted)} isn't in the log", render(wanted), lines)
        for pattern in self.matches or ():
            if not any(map(_finder(pattern), lines)):
                yield _missing(name, f"no line matches /{pattern}/", f"/{pattern}/", lines)
        for unwanted in self.not_contains or ():
            if unwanted in text:
                hits = [line for line in lines if unwanted in line]
                yield _unwanted(name, f"{render(unwanted)} is in the log", f"no {render(unwanted)}", hits)
        for pattern in self.not_matches or ():
            if hits := [line for line in lines if _finder(pattern)(line)]:
                yield _unwanted(name, f"a line matches /{pattern}/", f"no line that matches /{pattern}/", hits)
        for each in self.lines or ():
            hits = [line for line in lines if each.takes(line)]
            if not each.counts(len(hits)):
                said = f"{name}: {_counted(len(hits))} {each}, expected {each.expectation()}"
                detail = _excerpt(hits, "such lines") or _tail(lines)
                blind = bool(each.doubt(lines))
                is_final = each.is_exceeded(len(hits))
                yield Failed(said, each.expectation(), str(len(hits)), detail, final=is_final, saw_nothing=blind)

    def matched(self, text: str) -> list[str]:
        """The lines that `lines` is about, for outputs."""
        return [line for line in text.splitlines() if any(each.takes(line) for each in self.lines or ())]


def _read(line: str) -> Any:
    """A line's JSON; MISSING if it's none."""
    try:
        return json.loads(line)
    except ValueError:
        return MISSING


def _counted(number: int, word: str = "line") -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _finder(pattern: str) -> Callable[[str], bool]:
    regex = compile_regex(pattern)
    return lambda line: regex.search(line[:_LONGEST_LINE]) is not None


def _missing(name: str, said: str, expected: str, lines: list[str]) -> Failed:
    return Failed(
        f"{name}: {said}", expected, f"{_counted(len(lines), 'other line')}" if lines else "an empty log", _tail(lines)
    )


def _unwanted(name: str, said: str, expected: str, hits: list[str]) -> Failed:
    times = f" ({len(hits)} lines)" if len(hits) > 1 else ""
    actual = shortened(hits[0], _WIDTH) if hits else "there"
    return Failed(f"{name}: {said}{times}", expected, actual, _excerpt(hits, "where it is"), final=True)


def _excerpt(lines: list[str], title: str) -> str:
    if not lines:
        return ""
    more = [f"  … and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([f"{title}:", *(f"  | {line[:_WIDTH]}" for line in lines[:_SHOWN]), *more])


def _tail(lines: list[str]) -> str:
    if not lines:
        return ""
    return "\n".join(["the log's end:", *(f"  | {line[:_WIDTH]}" for line in lines[-_SHOWN:])])

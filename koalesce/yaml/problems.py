"""What is wrong with a file, and where: one record for people, editors and reports."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from koalesce.errors import UsageError
from koalesce.records import dataclass
from koalesce.suggestions import closest


@dataclass(frozen=True, slots=True, eq=False)
class OtherFile:
    """A file that another one includes: as people know it, its text, its folder, and the line of the other one that says so.

    `shifts` says by how much the indexes of its lists grew where they were joined with others.
    """

    path: str
    text: str
    folder: Path
    line: int
    shifts: Mapping[tuple[str | int, ...], int]


def unshifted(where: Sequence[str | int], shifts: Mapping[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
    """The path in a file of what is at a path of the whole, where lists of it were joined with others before them."""
    path = tuple(where)
    for prefix, shift in shifts.items():
        index = path[len(prefix)] if path[: len(prefix)] == prefix and len(path) > len(prefix) else None
        if isinstance(index, int):
            return (*prefix, index - shift, *path[len(prefix) + 1 :])
    return path


class Position(NamedTuple):
    """A stretch of one line of a file; line and column count from 1, `length` is at least 1. `file` is another than the document's own."""

    line: int
    column: int
    length: int = 1
    file: OtherFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong at one place of a file.

    `where` is the path inside the document (`tests[2].steps[0].exec.pod`), empty for the file as a whole; `hint` says what
    the user can do about it (`did you mean "condition"?`).
    """

    path: str
    line: int
    column: int
    message: str
    where: str = ""
    source_line: str = ""
    hint: str | None = None
    length: int = 1

    @classmethod
    def at(
        cls, path: str, text: str, position: Position, message: str, *, where: str = "", hint: str | None = None
    ) -> Problem:
        """A problem at a position of a text; its line is copied from there."""
        lines = text.splitlines()
        source = lines[position.line - 1] if 0 < position.line <= len(lines) else ""
        return cls(
            path=path,
            line=position.line,
            column=position.column,
            length=position.length,
            message=message,
            where=where,
            source_line=source,
            hint=hint,
        )

    @property
    def headline(self) -> str:
        """`file:line:col: path: message; hint`, on one line."""
        parts = [f"{self.path}:{self.line}:{self.column}", *([self.where] if self.where else []), self.message]
        return printable(": ".join(parts) + (f"; {self.hint}" if self.hint else ""))

    def __str__(self) -> str:
        """The headline, the source line and a caret below the place."""
        if not self.source_line.strip():
            return self.headline
        return "\n".join([self.headline, *_excerpt(self)])


def printable(text: str) -> str:
    """The text with a blank for each character that a terminal might obey."""
    return text if text.isprintable() else "".join(character if character.isprintable() else " " for character in text)


_WIDTH = 160
_LEAD = 60


def _excerpt(problem: Problem) -> list[str]:
    """The source line with its number, cut around the place where it's too long, and the caret line below it."""
    source, column = printable(problem.source_line), problem.column
    if len(source) > _WIDTH:
        start = max(0, column - 1 - _LEAD)
        source, column = source[start : start + _WIDTH], column - start
    number = str(problem.line)
    length = max(1, min(problem.length, len(source) - column + 1))
    return [f"  {number} | {source}", f"  {' ' * len(number)} | {' ' * (column - 1)}^{'~' * (length - 1)}"]


def format_problems(problems: Iterable[Problem]) -> str:
    """All problems as text, in the order given."""
    return "\n".join(str(problem) for problem in problems)


class InvalidDocument(UsageError):
    """A file has problems, all of which are in `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(format_problems(problems))
        self.problems = tuple(problems)


def did_you_mean(word: str, known: Collection[str]) -> str | None:
    """`did you mean "x"?` where one of the known words is close to this one."""
    found = closest(word, known)
    return f'did you mean "{found}"?' if found is not None else None

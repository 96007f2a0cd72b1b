"""Regular expressions for names of tests, level by level as `go test` reads them: TEST, or TEST/CELL."""

from __future__ import annotations

import re
from dataclasses import dataclass

from koalesce.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class TestName:
    """A test's name as it was written, the cell of its own matrix, and that of its spec's; empty where there is none."""

    __test__ = False  # no test class of pytest's

    written: str
    cell: str = ""
    spec_cell: str = ""

    @property
    def shown(self) -> str:
        """As reports have it."""
        return f"{self.written} [{self.cell}]" if self.cell else self.written

    @property
    def forms(self) -> tuple[str, ...]:
        """What a pattern is looked for in."""
        return (self.shown, f"{self.shown} [{self.spec_cell}]") if self.spec_cell else (self.shown,)


class NamePattern:
    """A pattern of the command line. UsageError, which names the flag, for a text that is no regular expression."""

    def __init__(self, text: str, flag: str) -> None:
        try:
            self._whole = re.compile(text)
        except re.error as error:
            raise UsageError(f"{flag} {text}: not a regular expression: {error}") from error
        self._levels = _levels(text)

    def finds(self, name: TestName) -> bool:
        """Whether it is found in the name with its cells, or its levels in the written name and in the cells."""
        if any(self._whole.search(form) for form in name.forms):
            return True
        if self._levels is None:
            return False
        test, cell = self._levels
        cells = ", ".join(part for part in (name.spec_cell, name.cell) if part)
        return bool(test.search(name.written)) and bool(cells) and bool(cell.search(cells))


def _levels(text: str) -> tuple[re.Pattern[str], re.Pattern[str]] | None:
    """The two sides of a pattern's only slash outside of brackets; None where it has no such slash, or its sides can't stand alone."""
    parts = split_levels(text)
    if len(parts) != 2:
        return None
    try:
        return re.compile(parts[0]), re.compile(parts[1])
    except re.error:
        return None


def split_levels(text: str) -> list[str]:
    """The parts of a pattern between slashes that stand outside of `[…]` and `(…)`, and are not escaped."""
    parts, depth, in_class, start, index = [], 0, False, 0, 0
    while index < len(text):
        match text[index]:
            case "\\":
                index += 1
            case "[":
                in_class = True
            case "]":
                in_class = False
            case "(" if not in_class:
                depth += 1
            case ")" if not in_class:
                depth -= 1
            case "/" if not in_class and not depth:
                parts.append(text[start:index])
                start = index + 1
            case _:
                pass
        index += 1
    return [*parts, text[start:]]

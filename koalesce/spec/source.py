"""The file that a spec comes from: what messages are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from koalesce.records import dataclass
from koalesce.yaml.nodes import Node, Path, format_path
from koalesce.yaml.problems import Position, Problem, unshifted


@dataclass(frozen=True, slots=True)
class Source:
    """A file as people know it, its text, and the document read from it."""

    path: str
    text: str = field(repr=False)
    document: Node = field(repr=False)
    shifts: Mapping[Path, int] = field(
        default_factory=dict, repr=False
    )  # how many items others put before those of a list

    def problem(
        self, position: Position, message: str, *, where: Sequence[str | int] = (), hint: str | None = None
    ) -> Problem:
        """A problem at a place of the file, or of one that it includes."""
        if (other := position.file) is not None:
            place = format_path(unshifted(where, other.shifts))
            return Problem.at(other.path, other.text, position, message, where=place, hint=hint)
        place = format_path(unshifted(where, self.shifts))
        return Problem.at(self.path, self.text, position, message, where=place, hint=hint)

    def problem_at(
        self, where: Sequence[str | int], message: str, *, key: bool = False, hint: str | None = None
    ) -> Problem:
        """A problem at a path of the document (`key`: at its key)."""
        return self.problem(self.locate(where, key=key), message, where=where, hint=hint)

    def locate(self, where: Sequence[str | int], *, key: bool = False) -> Position:
        """Where a path of the document stands in the file."""
        return self.document.locate(where, key=key)

    def within(self, where: Sequence[str | int], part: str) -> Position:
        """Where a part of a text stands: its own place in a block (`|`, `>`), that of the text in others."""
        position = self.locate(where)
        if self.written(position)[:1] not in ("|", ">"):
            return position
        lines = (position.file or self).text.splitlines()
        outer = _indent(lines[position.line - 1])
        for number, line in enumerate(lines[position.line :], position.line + 1):
            if line.strip() and _indent(line) <= outer:
                break
            if part in line:
                return position._replace(line=number, column=line.index(part) + 1, length=len(part))
        return position

    def line(self, where: Sequence[str | int]) -> int:
        """The line in which a path begins; for what another file holds, the line that includes it."""
        position = self.locate(where)
        return position.file.line if position.file is not None else position.line

    def place(self, where: Sequence[str | int]) -> str:
        """Where a path begins, for people: `line 12`, or `file:12` for another file."""
        position = self.locate(where)
        return f"{position.file.path}:{position.line}" if position.file else f"line {position.line}"

    def written(self, position: Position) -> str:
        """The characters at a position, as written."""
        lines = (position.file or self).text.splitlines()
        line = lines[position.line - 1] if position.line <= len(lines) else ""
        return line[position.column - 1 : position.column - 1 + position.length]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))

"""The file that a spec comes from: what messages are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from koalesce.yaml.nodes import Node, format_path
from koalesce.yaml.problems import Position, Problem


@dataclass(frozen=True, slots=True)
class Source:
    """A file as people know it, its text, and the document read from it."""

    path: str
    text: str = field(repr=False)
    document: Node = field(repr=False)

    def problem(
        self, position: Position, message: str, *, where: Sequence[str | int] = (), hint: str | None = None
    ) -> Problem:
        """A problem at a place of the file."""
        return Problem.at(self.path, self.text, position, message, where=format_path(where), hint=hint)

    def problem_at(
        self, where: Sequence[str | int], message: str, *, key: bool = False, hint: str | None = None
    ) -> Problem:
        """A problem at a path of the document (`key`: at its key)."""
        return self.problem(self.locate(where, key=key), message, where=where, hint=hint)

    def locate(self, where: Sequence[str | int], *, key: bool = False) -> Position:
        """Where a path of the document stands in the file."""
        return self.document.locate(where, key=key)

    def written(self, position: Position) -> str:
        """The characters at a position, as written."""
        lines = self.text.splitlines()
        line = lines[position.line - 1] if position.line <= len(lines) else ""
        return line[position.column - 1 : position.column - 1 + position.length]

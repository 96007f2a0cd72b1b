"""The pairs of a connectivity check, compared with what was expected of them, and shown as a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from koalesce.steps.base import StepContext
from koalesce.steps.destination import Endpoint
from koalesce.steps.places import Source
from koalesce.steps.probing import Observed, Target, reproduce

_MOST_COLUMNS = 8
_MOST_ROWS = 24
_MOST_LISTED = 12
_WIDTH = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One pair. `problem` says what is wrong although the outcome is as expected."""

    source: Source
    endpoint: Endpoint
    target: Target
    expected: tuple[str, ...]
    observed: Observed
    problem: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it is as expected."""
        return self.observed.outcome in self.expected and not self.problem

    @property
    def is_unclear(self) -> bool:
        """Whether nothing can be said about the network: a silence was expected, and it couldn't be tried."""
        return self.observed.outcome == "error" and "allowed" not in self.expected

    def with_problem(self, problem: str) -> Cell:
        """The same with a problem."""
        return replace(self, problem=problem)

    def expectation(self) -> str:
        """What was expected, in words."""
        return " or ".join(self.expected)

    def observation(self) -> str:
        """What was seen, in words."""
        return f"{self.observed.outcome}, {self.problem}" if self.problem else self.observed.outcome

    def __str__(self) -> str:
        own = self.observed.local or next(iter(self.source.addresses), "")
        source = f"{self.source.name} ({own})" if own else self.source.name
        name = "" if self.endpoint.name == self.endpoint.host else f"{self.endpoint.name} "
        where = f"({self.endpoint})" if name else str(self.endpoint)
        seen = self.problem or str(self.observed)
        protocol = "/UDP" if self.target.type == "udp" else ""
        return f"{source} → {name}{where}{protocol}: {seen}" + (
            "" if self.problem else f", expected {self.expectation()}"
        )

    def to_value(self) -> dict[str, Any]:
        """What outputs read."""
        return {
            "from": self.source.name, "to": self.endpoint.name, "host": self.endpoint.host, "port": self.endpoint.port,
            "expected": list(self.expected), "outcome": self.observed.outcome, "seenSource": self.observed.seen_source,
            "local": self.observed.local, "reply": self.observed.reply, "seconds": self.observed.seconds,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Matrix:
    """All pairs, in the order of sources and targets."""

    cells: list[Cell]

    @property
    def differing(self) -> list[Cell]:
        """The pairs that aren't as expected."""
        return [cell for cell in self.cells if not cell.is_right]

    def headline(self) -> str:
        """What differs, in a line: the first pair, and how many there are."""
        differing = self.differing
        if len(self.cells) == 1:
            return str(differing[0])
        more = f", and {len(differing) - 1} more" if len(differing) > 1 else ""
        return f"{len(differing)} of {len(self.cells)} pairs differ: {differing[0]}{more}"

    def render(self, context: StepContext) -> str:
        """Only what differs: a grid of expected and observed where there are several, and each pair with the command that shows it."""
        differing = self.differing
        lines = self._grid() if len(differing) > 1 else []
        for cell in differing[:_MOST_LISTED]:
            lines += [str(cell), f"    {reproduce(cell.source, cell.target, context)}"]
        if len(differing) > _MOST_LISTED:
            lines.append(f"… and {len(differing) - _MOST_LISTED} more pairs")
        return "\n".join(lines)

    def _grid(self) -> list[str]:
        """Rows are sources, columns targets, of those that have a differing pair; `.` is as expected, blank isn't a pair."""
        differing = self.differing
        wrong = {cell.source.name for cell in differing}, {cell.endpoint.name for cell in differing}
        rows = list(dict.fromkeys(cell.source.name for cell in self.cells if cell.source.name in wrong[0]))
        columns = list(dict.fromkeys(cell.endpoint.name for cell in self.cells if cell.endpoint.name in wrong[1]))
        if len(columns) > _MOST_COLUMNS or len(rows) > _MOST_ROWS:
            return []
        at = {(cell.source.name, cell.endpoint.name): _mark(cell) for cell in self.cells}
        body = [[at.get((row, column), "") for column in columns] for row in rows]
        table = [
            ["expected→observed", *_shortened(columns)],
            *([name, *cells] for name, cells in zip(_shortened(rows), body, strict=True)),
        ]
        widths = [min(_WIDTH, max(len(row[index]) for row in table)) for index in range(len(columns) + 1)]
        return [
            "  ".join(f"{text[:width]:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]

    def to_value(self) -> dict[str, Any]:
        """What outputs read."""
        return {"pairs": [cell.to_value() for cell in self.cells]}


def _shortened(names: list[str]) -> list[str]:
    """The names without their namespaces, if they still differ."""
    short = [name.rpartition("/")[2] for name in names]
    return short if len(set(short)) == len(names) else names


def _mark(cell: Cell) -> str:
    if cell.is_right:
        return "."
    return cell.problem or f"{'|'.join(cell.expected)}→{cell.observed.outcome}"

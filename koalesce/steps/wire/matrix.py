"""The pairs of a connectivity check, compared with what was expected of them, and shown as a grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from koalesce.events import Grid, PairKind
from koalesce.matching.mismatch import Mismatch
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.destination import Endpoint
from koalesce.steps.wire.probing import Observed, Target, reproduce

_MOST_COLUMNS = 8
_MOST_LETTERS = 20  # columns of a grid of single letters
_MOST_ROWS = 24
_MOST_LISTED = 12
_MOST_DRAWN = 100  # rows and columns of a grid that reports draw
_WIDTH = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One pair. `problem` says what is wrong although the outcome is as expected; `mismatch` the same of a value that was looked at.

    `reason` says what makes the expectation, where that isn't the author.
    """

    source: Source
    endpoint: Endpoint
    target: Target
    expected: tuple[str, ...]
    observed: Observed
    problem: str = ""
    mismatch: Mismatch | None = None
    reason: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it is as expected."""
        return self.observed.outcome in self.expected and not self.problem

    @property
    def is_unclear(self) -> bool:
        """Whether nothing can be said about the network: a silence was expected, and it couldn't be tried."""
        return self.observed.outcome == "error" and "allowed" not in self.expected

    def wrong(self) -> str:
        """What isn't as expected, in words; empty if all is."""
        if self.is_right:
            return ""
        return self.problem or f"{self.observed}, expected {self.expectation()}"

    def kind(self) -> PairKind:
        """What became of it, without its names."""
        note = self.reason or ("" if self.is_right else (self.observed.failure or self.observed.reason))
        return PairKind(expected=self.expectation(), observed=self.observation(), is_right=self.is_right, note=note)

    def with_problem(self, problem: str) -> Cell:
        """The same with a problem."""
        return replace(self, problem=problem)

    def expectation(self) -> str:
        """What was expected, in words."""
        return self.mismatch.expected if self.mismatch else " or ".join(self.expected)

    def observation(self) -> str:
        """What was seen, in words."""
        if self.mismatch:
            return self.mismatch.actual
        return f"{self.observed.outcome}, {self.problem}" if self.problem else self.observed.outcome

    def __str__(self) -> str:
        own = self.observed.local or next(iter(self.source.addresses), "")
        source = f"{self.source.name} ({own})" if own else self.source.name
        name = "" if self.endpoint.name == self.endpoint.host else f"{self.endpoint.name} "
        where = f"({self.endpoint})" if name else str(self.endpoint)
        seen = self.problem or str(self.observed)
        spoken = {"udp": "/UDP", "sctp": "/SCTP"}.get(self.target.type, "")
        protocol = "" if spoken in self.endpoint.name else spoken
        return f"{source} → {name}{where}{protocol}: {seen}" + (
            "" if self.problem else f", expected {self.expectation()}"
        )

    def to_value(self) -> dict[str, Any]:
        """What outputs read."""
        return {
            "from": self.source.name, "to": self.endpoint.name, "host": self.endpoint.host, "port": self.endpoint.port,
            "expected": list(self.expected), "outcome": self.observed.outcome, "seenSource": self.observed.seen_source,
            "local": self.observed.local, "reply": self.observed.reply, "mtu": self.observed.mtu, "seconds": self.observed.seconds,
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
            lines += [str(cell), *([f"    expected since {cell.reason}"] if cell.reason else [])]
            lines.append(f"    {reproduce(cell.source, cell.target, context)}")
        if len(differing) > _MOST_LISTED:
            lines.append(f"… and {len(differing) - _MOST_LISTED} more pairs")
        return "\n".join(lines)

    def _grid(self) -> list[str]:
        """Rows are sources, columns targets, of those that have a differing pair; `.` is as expected, blank isn't a pair."""
        differing = self.differing
        wrong = {cell.source.name for cell in differing}, {cell.endpoint.name for cell in differing}
        rows = list(dict.fromkeys(cell.source.name for cell in self.cells if cell.source.name in wrong[0]))
        columns = list(dict.fromkeys(cell.endpoint.name for cell in self.cells if cell.endpoint.name in wrong[1]))
        if len(columns) > _MOST_LETTERS or len(rows) > _MOST_ROWS:
            return []
        is_wide = len(columns) > _MOST_COLUMNS
        mark, corner = (_letter, "observed") if is_wide else (_mark, "expected→observed")
        at = {(cell.source.name, cell.endpoint.name): mark(cell) for cell in self.cells}
        body = [[at.get((row, column), "") for column in columns] for row in rows]
        table = [
            [corner, *_shortened(columns)],
            *([name, *cells] for name, cells in zip(_shortened(rows), body, strict=True)),
        ]
        widths = [min(_WIDTH, max(len(row[index]) for row in table)) for index in range(len(columns) + 1)]
        legend = [f"{letter} = {outcome}" for outcome, letter in _LETTERS.items() if any(letter in row for row in body)]
        return [
            *("  ".join(f"{text[:width]:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in table),
            *([f"(. = as expected, {', '.join(legend)})"] if is_wide else []),
        ]  # fmt: skip

    def verdict(self, unproven: str, context: StepContext) -> Outcome:
        """The step's outcome. `unproven` says which source has not shown that it can reach anything, empty if all have."""
        differing = self.differing
        if not differing:
            if unproven:
                return Errored(unproven, grids=self.grids())
            return Passed(self._summary(), self.to_value(), grids=self.grids())
        detail = self.render(context)
        if all(cell.is_unclear or (context.negated and cell.observed.outcome == "error") for cell in differing):
            return Errored(self.headline(), detail, grids=self.grids())
        if unproven and context.negated:
            return Errored(unproven, detail, grids=self.grids())
        first = differing[0]
        return Failed(self.headline(), first.expectation(), first.observation(), detail, grids=self.grids())

    def grids(self) -> tuple[Grid, ...]:
        """What reports draw: all pairs, of large ones only the rows and columns in which something differs; none of a single pair."""
        cells = self.cells
        rows, columns = _names(cells)
        if len(rows) > _MOST_DRAWN or len(columns) > _MOST_DRAWN:
            wrong = _names(self.differing)
            rows, columns = (
                [name for name in names if name in kept or len(names) <= _MOST_DRAWN][:_MOST_DRAWN]
                for names, kept in zip((rows, columns), wrong, strict=True)
            )
        if set(rows) == set(columns):
            columns = rows
        if len(cells) < 2 or not rows or not columns:
            return ()
        kinds: dict[PairKind, int] = {}
        indices = {(cell.source.name, cell.endpoint.name): kinds.setdefault(cell.kind(), len(kinds)) for cell in cells}
        drawn = tuple(tuple(indices.get((row, column), -1) for column in columns) for row in rows)
        return (Grid(title="", rows=tuple(rows), columns=tuple(columns), kinds=tuple(kinds), cells=drawn),)

    def to_value(self) -> dict[str, Any]:
        """What outputs read."""
        return {"pairs": [cell.to_value() for cell in self.cells]}

    def _summary(self) -> str:
        counted = Counter(cell.observed.outcome for cell in self.cells)
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items()))
        count = len(self.cells)
        return f"{count} {'pair' if count == 1 else 'pairs'} as expected: {outcomes}"


def behind_service(endpoint: Endpoint, target: Target, observed: Observed) -> Observed:
    """What was seen through a Service's (or a host port's) DNAT, which gives ICMP errors of filters the address that was asked for.

    A TCP stack refuses by a reset (RFC 9293, 3.5.2), one of SCTP by an abort (RFC 9260, 8.4), so that an ICMP error through a Service is a filter's.
    """
    is_translated = endpoint.kind == "service" or endpoint.own_port
    if is_translated and target.type in ("tcp", "sctp") and observed.outcome == "refused" and observed.icmp:
        return replace(observed, outcome="rejected")
    return observed


def _names(cells: Sequence[Cell]) -> tuple[list[str], list[str]]:
    """The sources and the targets, each once."""
    return list(dict.fromkeys(each.source.name for each in cells)), list(
        dict.fromkeys(each.endpoint.name for each in cells)
    )


def _shortened(names: list[str]) -> list[str]:
    """The names without their namespaces, if they still differ."""
    short = [name.rpartition("/")[2] for name in names]
    return short if len(set(short)) == len(names) else names


_LETTERS = {"allowed": "A", "refused": "F", "rejected": "R", "dropped": "D", "error": "E"}


def _letter(cell: Cell) -> str:
    """What was seen where it isn't as expected, in a letter: many columns have no room for more."""
    return "." if cell.is_right else _LETTERS[cell.observed.outcome]


def _mark(cell: Cell) -> str:
    if cell.is_right:
        return "."
    return cell.problem or f"{'|'.join(cell.expected)}→{cell.observed.outcome}"

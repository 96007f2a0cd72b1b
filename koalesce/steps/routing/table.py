"""Tables of what was expected and what was observed, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from koalesce.records import dataclass
from koalesce.steps.objects.reading import shortened

_MOST = 30
_WIDEST = 60


@dataclass(frozen=True, slots=True)
class Row:
    """A row: what kind it is of, its values by column, and a remark behind them."""

    kind: str
    values: Mapping[str, Any]
    remark: str = ""


def drawn(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """The rows below a head, each column as wide as it needs; a value that an expected row leaves open is empty."""
    if not rows:
        return ""
    lines = [["", *columns, ""]]
    lines += [[row.kind, *(_cell(row.values.get(column)) for column in columns), row.remark] for row in rows[:_MOST]]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*text, *([f"… and {len(rows) - _MOST} more"] if len(rows) > _MOST else [])])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        value = " ".join(map(str, value)) or "-"
    elif isinstance(value, Mapping):
        value = ", ".join(f"{key} {operand}" for key, operand in value.items())
    return shortened(str(value), _WIDEST) if value != "" else "-"

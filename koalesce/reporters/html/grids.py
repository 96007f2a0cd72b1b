"""Pairs that were tried as a table: what was seen, and what was expected where that is something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from koalesce.events import Grid, PairKind
from koalesce.reporters.html.markup import Content, Markup, joined, tag

_MARKS = {"allowed": "●", "refused": "↩", "rejected": "⊘", "dropped": "○", "error": "?"}


def drawn(grids: Sequence[Grid]) -> Markup:
    """Each grid with what its marks mean."""
    return joined([_grid(grid) for grid in grids if grid.rows and grid.columns])


def _grid(grid: Grid) -> Markup:
    rows, columns = _without_common(grid.rows), _without_common(grid.columns)
    head = tag(
        "tr",
        tag("td", tag("span", "from ↓ to →", class_="corner")),
        [
            tag("th", tag("span", name), scope="col", title=full)
            for name, full in zip(columns, grid.columns, strict=True)
        ],
    )
    body = [
        tag("tr", tag("th", name, scope="row", title=full), [_cell(grid, full, *at) for at in zip(grid.columns, cells, strict=False)])
        for name, full, cells in zip(rows, grid.rows, grid.cells, strict=False)
    ]  # fmt: skip
    table = tag("table", tag("thead", head), tag("tbody", body), class_="grid")
    counted = Counter(kind for cells in grid.cells for kind in cells)
    used = [(kind, counted[index]) for index, kind in enumerate(grid.kinds) if counted[index]]
    wrong = sum(count for kind, count in used if not kind.is_right)
    told = (
        f"{sum(count for _, count in used)} pairs, {f'{wrong} of them not as expected' if wrong else 'all as expected'}"
    )
    caption = tag("figcaption", f"{grid.title}: {told}" if grid.title else told)
    return tag("figure", caption, tag("div", table, class_="scroll", tabindex="0"), _legend(used), class_="pairs")


def _cell(grid: Grid, row: str, column: str, index: int) -> Markup:
    if not 0 <= index < len(grid.kinds):
        return tag("td", class_="none", title=f"{row} → {column}: no such pair")
    kind = grid.kinds[index]
    note = f" ({kind.note})" if kind.note else ""
    title = f"{row} → {column}: {kind.observed}, expected {kind.expected}{note}"
    return tag("td", _mark(kind), class_=_class(kind), title=title)


def _mark(kind: PairKind) -> Content:
    """What was seen; where it isn't as expected, what was expected stands before it."""
    observed = _short(kind.observed)
    return observed if kind.is_right else [tag("span", f"{_short(kind.expected)}→", class_="was"), tag("b", observed)]


def _short(outcome: str) -> str:
    """An outcome in one mark: what is behind the comma is in the title."""
    words = outcome.partition(",")[0].split(" or ")
    return "".join(_MARKS.get(word, "≠") for word in words) if len(words) <= len(_MARKS) else "≠"


def _class(kind: PairKind) -> str:
    outcome = kind.observed.partition(",")[0]
    return f"{'right' if kind.is_right else 'wrong'} {outcome if outcome in _MARKS else 'other'}"


def _legend(used: Sequence[tuple[PairKind, int]]) -> Markup:
    lines: dict[tuple[bool, str], int] = {}
    marks: dict[tuple[bool, str], Markup] = {}
    for kind, count in used:
        text = kind.observed if kind.is_right else f"expected {kind.expected}, seen {kind.observed}"
        key = (kind.is_right, text)
        lines[key] = lines.get(key, 0) + count
        marks.setdefault(key, tag("span", _mark(kind), class_=f"cell {_class(kind)}"))
    ordered = sorted(lines, key=lambda key: (key[0], -lines[key]))
    return tag("ul", [tag("li", marks[key], f" {key[1]} ({lines[key]})") for key in ordered], class_="legend")


def _without_common(names: Sequence[str]) -> list[str]:
    """The names without the namespace that all of them have."""
    spaces = {name.partition("/")[0] for name in names if "/" in name}
    if len(spaces) == 1 and all("/" in name for name in names):
        return [name.partition("/")[2] for name in names]
    return list(names)

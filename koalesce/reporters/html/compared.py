"""The run beside an earlier one, as a table of the tests that are not as they were."""

from __future__ import annotations

from collections.abc import Sequence

from koalesce.durations import format_seconds
from koalesce.reporters.cases import Case
from koalesce.reporters.comparison import Change, Comparison, headline, ratio
from koalesce.reporters.html.markup import Content, Markup, joined, tag
from koalesce.reporters.html.spans import Anchors
from koalesce.reporters.html.words import folded, mark, status_of

_OPEN = 30  # rows of a kind that are shown without asking


def compared(found: Comparison, anchors: Anchors) -> Markup:
    """What differs, each kind of change with its tests."""
    begun = tag("time", found.at, datetime=found.at) if found.at else None
    pace = f" Tests that passed in both take {found.pace:.2f} times as long on the whole." if found.pace else None
    head = tag(
        "p",
        "Beside run ",
        tag("code", found.run or "(unnamed)"),
        [" of ", begun] if begun else None,
        f": {headline(found)}.",
        pace,
    )
    kinds: list[tuple[str, Sequence[Change]]] = [
        ("Newly failing", found.broken), ("Fixed", found.fixed), ("Slower", found.slower), ("Faster", found.faster),
        ("Still failing", found.still), ("New", found.added), ("Gone", found.gone),
    ]  # fmt: skip
    tables = [
        folded(f"{title} ({len(changes)})", _table(changes, anchors), is_open=len(changes) <= _OPEN and title not in ("New", "Gone"))
        for title, changes in kinds
        if changes
    ]  # fmt: skip
    return joined(head, tables)


def _table(changes: Sequence[Change], anchors: Anchors) -> Markup:
    head = tag("tr", [tag("th", text, scope="col") for text in ("Test", "Before", "Now", "Times as long")])
    rows = [_row(change, anchors) for change in changes]
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="list compare")
    return tag("div", table, class_="scroll", tabindex="0")


def _row(change: Change, anchors: Anchors) -> Markup:
    anchor = anchors.get((change.spec, change.name)) if change.after else None
    name = change.name or "setup"
    shown = tag("a", name, href=f"#{anchor}") if anchor else name
    said = change.after.message.partition("\n")[0] if change.after else ""
    why = f"mostly in {change.step}" if change.step else said
    both = (
        change.before is not None
        and change.after is not None
        and "skipped" not in (change.before.status, change.after.status)
    )
    return tag(
        "tr",
        tag("th", shown, " ", tag("code", change.spec, class_="where"), tag("span", why, class_="said") if why else None, scope="row"),
        tag("td", _state(change.before)),
        tag("td", _state(change.after)),
        tag("td", f"{ratio(change):.1f}" if both else ""),
    )  # fmt: skip


def _state(case: Case | None) -> Content:
    if case is None:
        return "not there"
    status = status_of(case)
    return [mark(status), " ", status, " ", tag("span", format_seconds(case.seconds), class_="time")]

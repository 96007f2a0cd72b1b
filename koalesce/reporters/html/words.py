"""Words and marks for what a report shows again and again."""

from __future__ import annotations

from collections.abc import Iterable

from koalesce.durations import format_seconds
from koalesce.reporters.cases import Case
from koalesce.reporters.html.markup import Content, Markup, tag

ORDER = ("failed", "error", "flaky", "passed", "skipped")
_GLYPHS = {"passed": "✓", "failed": "✕", "error": "!", "skipped": "–", "flaky": "↻", "running": "…"}  # noqa: RUF001  # drawn


def status_of(case: Case) -> str:
    """A case's status, where one that passed only when it was run again is `flaky`."""
    return "flaky" if case.is_flaky else case.status


def badge(status: str) -> Markup:
    """A status as a mark with its word."""
    return tag("span", mark(status), " ", status, class_=f"badge {status}")


def mark(status: str) -> Markup:
    """A status as a mark."""
    return tag("span", _GLYPHS[status], class_=f"mark {status}", aria_hidden="true")


def told(seconds: float) -> Markup:
    """A time."""
    return tag("span", format_seconds(seconds), class_="time")


def folded(summary: Content, *content: Content, is_open: bool = False, class_: str = "") -> Markup:
    """Something that opens when it is asked for."""
    return tag("details", tag("summary", summary), *content, open=is_open, class_=class_ or None)


def definitions(pairs: Iterable[tuple[str, Content]]) -> Markup:
    """Names and what stands for them."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs if value])

"""Reading HTML reports in tests: elements that are closed in order, their attributes and their text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from koalesce.events import AnyEvent
from koalesce.reporters.html import Html

_VOID = ("br", "hr", "input", "link", "meta", "img")


class Page(HTMLParser):
    """A parsed page; AssertionError where elements aren't closed in the order in which they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["style"], ["script"]):
            self.text += data

    def all(self, tag: str, class_: str = "") -> list[dict[str, str]]:
        """The attributes of all elements of a kind."""
        wanted = set(class_.split())
        return [attrs for name, attrs in self.elements if name == tag and wanted <= set(attrs.get("class", "").split())]


def written(tmp_path: Path, *events: AnyEvent, below: tuple[Path, ...] = ()) -> Path:
    """The file of a report of these events."""
    path = tmp_path / "report.html"
    reporter = Html(path, below=below)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return path


def page(tmp_path: Path, *events: AnyEvent, below: tuple[Path, ...] = ()) -> Page:
    """The parsed report of these events."""
    return Page(written(tmp_path, *events, below=below).read_text(encoding="utf-8"))

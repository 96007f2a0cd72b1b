"""The documentation leads where it says, and its examples are complete and valid."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from koalesce.spec import load_all
from koalesce.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)|^\[[^\]]+\]: (?!https?:)(\S+)$", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _anchor(heading: str) -> str:
    """What a heading is called in links, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [first or second for first, second in _LINK.findall(page.read_text())]

    assert [link for link in links if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if target.is_dir():  # which only a code host shows
        return not page.is_relative_to(ROOT / "docs") or page == ROOT / "docs" / "README.md"
    return target.exists() and (not anchor or anchor in map(_anchor, _HEADING.findall(target.read_text())))


def test_every_page_is_in_the_table_of_contents_of_the_site() -> None:
    folder = ROOT / "docs"
    listed = set(
        re.findall(
            r"^(?:tutorial|how-to|reference|explanation)/[\w/-]+$", (folder / "index.md").read_text(), re.MULTILINE
        )
    )
    pages = {str(page.relative_to(folder).with_suffix("")) for page in PAGES if page.is_relative_to(folder)}

    assert listed == {page for page in pages if "/" in page and not page.startswith(("reference/steps/", "examples/"))}


@pytest.mark.parametrize("key", sorted(STEPS))
def test_a_step_type_has_an_example_that_uses_it(key: str) -> None:
    path = ROOT / "docs" / "examples" / f"{key}.yaml"

    (loaded, *_) = load_all([path])

    assert key in {step.key for test in loaded.spec.tests for step in test.steps}


@pytest.mark.parametrize("key", sorted(STEPS))
def test_a_step_type_has_tests_that_must_fail(key: str) -> None:
    path = ROOT / "tests" / "data" / "failing" / f"{key}.yaml"

    (loaded, *_) = load_all([path])

    assert key in {step.key for test in loaded.spec.tests for step in test.steps}
    assert [test.name for test in loaded.spec.tests if not test.description] == []


def test_the_spec_of_the_pictured_report_is_valid() -> None:
    (loaded,) = load_all([ROOT / "docs" / "images" / "_report.yaml"])

    assert {step.key for test in loaded.spec.tests for step in test.steps} >= {"bgp", "chaos", "connectivity"}


def test_the_picture_of_a_session_is_of_the_session_that_was_recorded() -> None:
    header, *lines = map(json.loads, (ROOT / "docs" / "images" / "session.cast").read_text().splitlines())
    written = "".join(text for _, kind, text in lines if kind == "o")
    plain = "".join(re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written).split())
    picture = (ROOT / "docs" / "images" / "session.svg").read_text()
    shown = [html.unescape(text) for text in re.findall(r"<text[^>]*clip-path[^>]*>(.*?)</text>", picture)]
    pieces = ["".join(text.split()) for text in shown if text.strip()]

    assert (header["version"], header["width"]) == (2, 112)
    assert [time for time, _, _ in lines] == sorted(time for time, _, _ in lines)
    assert len(pieces) > 10
    assert [piece for piece in pieces if piece not in plain] == []
    for command in ("koalesce validate specs/web.yaml", "koalesce run specs/web.yaml"):
        assert command in (ROOT / "docs" / "tutorial" / "first-spec.md").read_text()
        assert "".join(command.split()) in plain

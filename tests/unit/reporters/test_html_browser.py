"""Reports in a real browser, where there is one."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from koalesce.reporters.jsonl import read_events
from tests.unit.reporters.browser import Tab, Unwilling, surroundings, temporary_folder
from tests.unit.reporters.pages import written

RUNS = Path(__file__).parents[2] / "data" / "runs"
BROWSER = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), "")


def dump(profile: Path, address: str) -> subprocess.CompletedProcess[str]:
    """The page as the browser has it, and what it says of it."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
        "--enable-logging=stderr", "--dump-dom", address,
    ]  # fmt: skip
    with temporary_folder() as temporary:
        environment = surroundings(profile, temporary)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The folder of a browser that works; skips where there is none."""
    if not BROWSER:
        pytest.skip("there is no Chromium here")
    try:
        blank = dump(tmp_path / "profile", "about:blank")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{BROWSER} does not start in two minutes")
    if "<html>" not in blank.stdout:
        pytest.skip(f"{BROWSER} does not work here: {blank.stderr[-300:]}")
    return tmp_path / "profile"


def test_a_browser_shows_a_report_and_complains_of_nothing(profile: Path, tmp_path: Path) -> None:
    path = written(tmp_path, *read_events(RUNS / "red.jsonl"))

    try:
        shown = dump(profile, path.as_uri())
    except subprocess.TimeoutExpired:
        pytest.skip(f"{BROWSER} does not show a page in two minutes")

    assert "CONSOLE" not in shown.stderr  # a style that the page's own policy refuses would be told there
    assert "pods reach each other" in shown.stdout
    assert "</html>" in shown.stdout


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab of a browser that works; skips where there is none."""
    if not BROWSER:
        pytest.skip("there is no Chromium here")
    try:
        opened = Tab(BROWSER, tmp_path_factory.mktemp("profile"))
    except Unwilling:
        pytest.skip(f"{BROWSER} does not start in two minutes")
    with opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("report"), *read_events(RUNS / "red.jsonl"))


@pytest.mark.parametrize(("scheme", "media"), [("light", ""), ("dark", ""), ("dark", "print")])
def test_all_text_stands_out_from_what_is_behind_it(tab: Tab, report: Path, scheme: str, media: str) -> None:
    tab.show(report, scheme=scheme, media=media)

    found = json.loads(tab.value((Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")))

    assert found["count"] > 100
    assert found["bad"] == []


@pytest.mark.parametrize("width", [320, 390, 1180])
def test_a_page_is_no_wider_than_its_window(tab: Tab, report: Path, width: int) -> None:
    tab.show(report, width=width)
    tab.value("document.querySelectorAll('details').forEach((each) => { each.open = true })")

    assert 0 < tab.value("document.documentElement.scrollWidth") <= width


def test_tests_that_are_folded_on_a_screen_are_on_paper(tab: Tab, report: Path) -> None:
    visible = "[...document.querySelectorAll('#tests > details')].map((each) => (each.open = false, each.querySelector('li').checkVisibility()))"

    tab.show(report)
    on_screen = tab.value(visible)
    tab.show(report, media="print")

    assert on_screen == [False, False, False]
    assert tab.value(visible) == [True, True, True]


def test_words_of_a_table_are_whole_in_a_narrow_window(tab: Tab, report: Path) -> None:
    tab.show(report, width=390)

    lines = "[...document.querySelectorAll('#specs td')].map((each) => each.getBoundingClientRect().width)"
    assert min(tab.value(lines)) > 40  # pixels; a letter wide where words are broken anywhere


def test_all_is_reached_and_opened_by_keys(tab: Tab, report: Path) -> None:
    tab.show(report)

    tab.press("Tab")

    assert tab.value("document.activeElement.textContent") == tab.value("document.querySelector('a[href]').textContent")
    assert tab.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.value("document.querySelector('details:not([open]) > summary').focus()")
    tab.press("Enter")
    assert tab.value("document.activeElement.parentElement.open") is True


def test_nothing_was_complained_of(tab: Tab, report: Path) -> None:
    tab.show(report)

    assert tab.said == []

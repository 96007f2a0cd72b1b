"""Reports in a real browser, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from koalesce.reporters.jsonl import read_events
from tests.unit.reporters.pages import written

RUNS = Path(__file__).parents[2] / "data" / "runs"
BROWSER = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), "")


def dump(profile: Path, address: str) -> subprocess.CompletedProcess[str]:
    """The page as the browser has it, and what it says of it."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
        "--enable-logging=stderr", "--dump-dom", address,
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(profile)}
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

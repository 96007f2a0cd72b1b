"""Latency and loss of probes over faults, in the HTML report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from koalesce.events import (
    AnyEvent,
    Series,
    SpecStarted,
    Status,
    StepFinished,
    StepStarted,
    TestFinished,
    TestStarted,
    from_json,
    to_json,
)
from tests.unit.reporters.pages import Page, page

SPEC = "specs/a.yaml"
HOSTILE = "</svg><script>alert(1)</script>\x1b[31m"


def series(title: str = "a → b", **more: object) -> Series:
    own = {
        "ago": 4.0, "width": 1.0, "right": (10, 2, 0, 9), "lost": (0, 8, 0, 0), "wrong": (0, 0, 0, 1),
        "usual": (0.001, 0.002, None, 0.001), "slowest": (0.002, 0.4, None, 0.003),
    }  # fmt: skip
    return Series(title=title, **{**own, **more})  # type: ignore[arg-type]  # fields of a series


def step(type_: str, title: str, began: float, ended: float, *, ongoing: str = "", index: int = 0, status: Status = "passed", drawn: tuple[Series, ...] = ()) -> list[AnyEvent]:  # fmt: skip
    own = {"spec": SPEC, "test": "t", "section": "steps", "index": index, "type": type_, "title": title, "line": 7}
    return [
        StepStarted(**own, timeout=30.0, ongoing=ongoing, elapsed=began),  # type: ignore[arg-type]  # fields of a step
        StepFinished(**own, status=status, attempts=1, seconds=ended - began, message="m", series=drawn, elapsed=ended),  # type: ignore[arg-type]  # as above
    ]


def run(*drawn: Series, status: Status = "passed") -> list[AnyEvent]:
    return [
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        TestStarted(spec=SPEC, test="t", namespace="n", line=3, elapsed=9.0),
        *step("background", "probe", 9.0, 9.5, ongoing="probe"),
        *step("chaos", "pull the cable", 11.0, 12.0, index=1),
        *step("chaos", "long before", 1.0, 2.0, index=2),
        *step("stop", "stop probe", 13.5, 14.0, ongoing="probe", index=3, status=status, drawn=drawn),
        TestFinished(spec=SPEC, test="t", status=status, seconds=5.0, message="m", line=3, elapsed=14.0),
    ]


def bars(shown: Page, look: str) -> list[dict[str, str]]:
    """The bars of a kind, but for that in the legend."""
    return [each for each in shown.all("rect", look) if "x" in each]


def test_draws_what_came_of_each_span_of_time(tmp_path: Path) -> None:
    shown = page(tmp_path, *run(series()))

    assert "Latency and loss" in shown.text
    assert "8 lost, 1 wrong of 30, slowest 400ms" in shown.text
    assert [each["x"] for each in bars(shown, "slowest")] == ["0.000%", "25.000%", "75.000%"]
    assert [each["x"] for each in bars(shown, "lost")] == ["25.000%"]
    assert [each["x"] for each in bars(shown, "wrong")] == ["75.000%"]
    assert "11s: 2 right (usually 2ms, slowest 400ms), 8 lost, 0 wrong" in shown.text


def test_slower_is_higher_and_nothing_leaves_its_row(tmp_path: Path) -> None:
    shown = page(tmp_path, *run(series()))

    heights = [float(each["height"]) for each in bars(shown, "slowest")]
    assert heights[1] == max(heights)
    assert heights[0] < heights[2] < heights[1] <= 44


def test_faults_of_that_time_lie_over_it(tmp_path: Path) -> None:
    shown = page(tmp_path, *run(series()))

    plotted = [each for each in bars(shown, "shadow") if each["x"] == "25.000%"]
    assert [each["width"] for each in plotted] == ["25.000%"]
    assert "pull the cable: from 11s to 12s" in shown.text
    assert "long before: from 1s to 2s" not in shown.text


@pytest.mark.parametrize(
    ("status", "count", "is_open"), [("failed", 9, True), ("passed", 9, False), ("passed", 2, True)]
)
def test_what_went_wrong_is_in_sight_and_one_picture_in_any_case(
    tmp_path: Path, status: Status, count: int, is_open: bool
) -> None:
    *events, end = run(*(series(f"flow {number}") for number in range(count)), status=status)
    (step,) = (each for each in events if isinstance(each, StepFinished) and each.series)
    shown = page(tmp_path, *events, replace(step, index=step.index + 10), end)

    first, second = shown.all("details", "plot")
    assert "open" in first
    assert ("open" in second) == is_open


def test_silence_that_was_hoped_for_and_no_tries_at_all_can_be_drawn(tmp_path: Path) -> None:
    none = (None, None, None, None)
    silent = series("silent", usual=none, slowest=none)
    empty = Series(title="empty", ago=0.0, width=0.01, right=(0,), lost=(0,), wrong=(0,), usual=(None,), slowest=(0.0,))

    shown = page(tmp_path, *run(silent, empty))

    assert "8 lost, 1 wrong of 30" in shown.text
    assert "0 lost, 0 wrong of 0" in shown.text


def test_nothing_foreign_is_markup(tmp_path: Path) -> None:
    shown = page(tmp_path, *run(series(HOSTILE)))

    assert not shown.all("script")
    assert "</svg><script>alert(1)</script>" in shown.text


def test_a_run_without_probes_has_no_such_section(tmp_path: Path) -> None:
    assert "Latency and loss" not in page(tmp_path, *run()).text


def test_events_keep_it() -> None:
    (event,) = (each for each in run(series()) if isinstance(each, StepFinished) and each.series)

    assert from_json(to_json(event)) == event


@pytest.mark.parametrize(
    ("titles", "shown"),
    [
        (["node → one/web-1 (10.0.0.1:80)", "node → one/web-2"], ["node → web-1 (10.0.0.1:80)", "node → web-2"]),
        (["node → one/web-1", "node → two/web-1"], ["node → one/web-1", "node → two/web-1"]),
        (["one/a → http://b/c", "one/a → 10.0.0.0/8"], ["a → http://b/c", "a → 10.0.0.0/8"]),
    ],
)
def test_a_namespace_that_all_have_is_left_out(tmp_path: Path, titles: list[str], shown: list[str]) -> None:
    found = page(tmp_path, *run(*map(series, titles)))

    assert [each for each in shown if each in found.text] == shown
    assert [each["title"] for each in found.all("b") if each.get("title")] == titles

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from koalesce.events import (
    AnyEvent,
    Grid,
    PairKind,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    SpecFinished,
    SpecStarted,
    Status,
    StepAttempted,
    StepFinished,
    StepStarted,
    TestFinished,
    TestRerun,
    TestStarted,
)
from koalesce.reporters.html.timeline import Axis, ticks
from koalesce.reporters.jsonl import read_events
from tests.unit.reporters.pages import Page, page, written

RUNS = Path(__file__).parents[2] / "data" / "runs"
SPEC = "specs/a.yaml"
HOSTILE = "</pre></style><script>alert(1)</script><img src=//evil.example onerror=x>\"'\x1b[31m\x00\u202e&amp;"


def step(test: str, index: int = 0, *, at: float = 0.0, **more: Any) -> list[AnyEvent]:
    """A step's begin and end."""
    own = {"spec": SPEC, "test": test, "section": "steps", "index": index, "type": more.pop("type", "exec")}
    own |= {"title": more.pop("title", "look"), "line": more.pop("line", 7)}
    ongoing, seconds = more.pop("ongoing", ""), more.pop("seconds", 1.0)
    end = {"status": "passed", "attempts": 1, "seconds": seconds, "message": "seen", **more}
    return [
        StepStarted(**own, timeout=30, ongoing=ongoing, elapsed=at),
        StepFinished(**own, **end, elapsed=at + seconds),
    ]


def run(*tests: tuple[str, Iterable[AnyEvent], dict[str, Any]]) -> list[AnyEvent]:
    """A whole run of one spec: each test with its steps, and how it ended."""
    events: list[AnyEvent] = [SpecStarted(spec=SPEC, name="a", tests=tuple(name for name, _, _ in tests))]
    for name, steps, more in tests:
        end = {"status": "passed", "seconds": 1.0, "message": "", "line": 3, **more}
        events += [TestStarted(spec=SPEC, test=name, namespace="n", line=3), *steps]
        events.append(TestFinished(spec=SPEC, test=name, **end, elapsed=60.0))
    failed = sum(more.get("status") == "failed" for _, _, more in tests)
    status: Any = "failed" if failed else "passed"
    counts = {"passed": len(tests) - failed, "failed": failed, "error": 0, "skipped": 0}
    return [
        *events,
        SpecFinished(spec=SPEC, status=status, seconds=60, elapsed=60.0),
        RunFinished(status=status, seconds=60, elapsed=60.0, **counts),
    ]


@pytest.mark.parametrize("name", sorted(path.stem for path in RUNS.glob("*.jsonl")))
def test_a_report_is_well_formed_and_fetches_nothing(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, *read_events(RUNS / f"{name}.jsonl"))
    text = path.read_text(encoding="utf-8")
    found = Page(text)

    assert {tag for tag, _ in found.elements} & {"script", "link", "img", "iframe", "object", "base", "form"} == set()
    assert [attrs["href"] for _, attrs in found.elements if not attrs.get("href", "#").startswith("#")] == []
    assert [attrs for _, attrs in found.elements if {"src", "srcset", "style"} & set(attrs)] == []
    assert [key for _, attrs in found.elements for key in attrs if key.startswith("on")] == []
    assert re.findall(r"url\(|@import", text) == []
    assert "default-src 'none'" in next(attrs["content"] for attrs in found.all("meta") if "http-equiv" in attrs)


@pytest.mark.parametrize("name", sorted(path.stem for path in RUNS.glob("*.jsonl")))
def test_every_link_leads_somewhere_and_no_two_places_have_one_name(tmp_path: Path, name: str) -> None:
    found = page(tmp_path, *read_events(RUNS / f"{name}.jsonl"))

    ids = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"].removeprefix("#") for attrs in found.all("a")} <= set(ids)


def test_every_failure_of_a_run_has_a_card_with_its_reason(tmp_path: Path) -> None:
    found = page(tmp_path, *read_events(RUNS / "red.jsonl"))

    ended = [event for event in read_events(RUNS / "red.jsonl") if isinstance(event, TestFinished)]
    bad = [event for event in ended if event.status in ("failed", "error")]
    assert bad
    for event in bad:
        assert event.test in found.text
    for end in read_events(RUNS / "red.jsonl"):
        if isinstance(end, StepFinished) and end.status in ("failed", "error"):
            assert end.message in found.text
            assert end.detail.split("\n")[0] in found.text
    assert "the network namespace kube-router-r1 is still in use by pid 4711" in found.text
    assert "image docker.io/flannel/flannel:v0.26.7 can't be had" in found.text
    assert len(found.all("article", "failed")) + len(found.all("article", "error")) >= len(bad)


def test_a_green_run_has_no_cards(tmp_path: Path) -> None:
    found = page(tmp_path, *read_events(RUNS / "green.jsonl"))

    assert found.all("article") == []
    assert [attrs["class"] for attrs in found.all("span", "verdict")] == ["verdict passed"]


def test_a_run_that_was_cut_off_says_so(tmp_path: Path) -> None:
    events = list(read_events(RUNS / "red.jsonl"))

    found = page(tmp_path, *events[: len(events) // 2])

    assert "The run did not end" in found.text


def test_no_events_at_all_are_a_report_too(tmp_path: Path) -> None:
    assert "The run did not end" in page(tmp_path).text


def test_foreign_text_stays_text(tmp_path: Path) -> None:
    grid = Grid(
        title=HOSTILE, rows=(HOSTILE,), columns=(HOSTILE,), cells=((0,),),
        kinds=(PairKind(expected=HOSTILE, observed=HOSTILE, is_right=False, note=HOSTILE),),
    )  # fmt: skip
    steps = step(
        HOSTILE, status="failed", title=HOSTILE, type="chaos", message=HOSTILE, expected=HOSTILE, actual=HOSTILE,
        detail=HOSTILE, grids=(grid,),
    )  # fmt: skip
    events = run((HOSTILE, steps, {"status": "failed", "message": HOSTILE, "evidence": HOSTILE}))
    evil = [replace(event, spec=HOSTILE) if hasattr(event, "spec") else event for event in events]

    path = written(tmp_path, *evil)
    found = Page(path.read_text(encoding="utf-8"))

    assert {tag for tag, _ in found.elements} & {"script", "img"} == set()
    assert "<script>alert(1)</script>" in found.text
    assert not re.search("[\x00\x1b\u202e]", path.read_text(encoding="utf-8"))
    known = {"class", "id", "href", "title", "open", "tabindex", "role", "scope", "lang", "charset", "content", "name"}
    drawn = {"x", "y", "x1", "x2", "y1", "y2", "rx", "width", "height", "text-anchor"}
    names = {name for _, attrs in found.elements for name in attrs}
    assert names <= known | drawn | {"http-equiv", "aria-hidden", "aria-label", "datetime", "colspan"}


def test_what_was_seen_over_time_stands_beside_a_failure(tmp_path: Path) -> None:
    begin, end = step("t", status="failed", message="2 pods ready, expected 3", attempts=9, at=10.0, seconds=5.0)
    own = {"spec": SPEC, "test": "t", "section": "steps", "index": 0, "outcome": "failed"}
    seen: list[AnyEvent] = [
        StepAttempted(**own, attempt=1, message="0 pods ready", elapsed=10.5),
        StepAttempted(**own, attempt=4, message="2 pods ready", elapsed=12.25),
    ]

    found = page(tmp_path, *run(("t", [begin, *seen, end], {"status": "failed", "message": "no"})))

    assert "attempts 1 to 3" in found.text
    assert "attempts 4 to 9" in found.text
    assert "+2.25s" in found.text


def test_a_value_that_never_stands_still_takes_a_bounded_place(tmp_path: Path) -> None:
    begin, end = step("t", status="failed", message="no", attempts=5000)
    own = {"spec": SPEC, "test": "t", "section": "steps", "index": 0, "outcome": "failed"}
    seen: list[AnyEvent] = [StepAttempted(**own, attempt=n, message=f"saw {n}.") for n in range(1, 5001)]

    found = page(tmp_path, *run(("t", [begin, *seen, end], {"status": "failed", "message": "no"})))

    assert "saw 1." in found.text
    assert "saw 5000." in found.text
    assert "4960 other sights, left out" in found.text
    assert "saw 2500." not in found.text


def test_pairs_are_a_grid_of_expected_and_seen(tmp_path: Path) -> None:
    kinds = (
        PairKind(expected="allowed", observed="allowed", is_right=True),
        PairKind(expected="dropped", observed="allowed", is_right=False, note="since n/deny isolates it"),
    )
    grid = Grid(title="apply deny", rows=("n/a", "n/b"), columns=("n/a", "n/b"), kinds=kinds, cells=((-1, 0), (1, -1)))
    steps = step("t", status="failed", message="1 of 2 pairs differ", grids=(grid,))

    found = page(tmp_path, *run(("t", steps, {"status": "failed", "message": "no"})))

    assert "apply deny: 2 pairs, 1 of them not as expected" in found.text
    cells = [(attrs["class"], attrs["title"]) for attrs in found.all("td") if "title" in attrs]
    assert cells == [
        ("none", "n/a → n/a: no such pair"),
        ("right allowed", "n/a → n/b: allowed, expected allowed"),
        ("wrong allowed", "n/b → n/a: allowed, expected dropped (since n/deny isolates it)"),
        ("none", "n/b → n/b: no such pair"),
    ]


def test_grids_of_a_green_run_are_with_its_steps(tmp_path: Path) -> None:
    kinds = (PairKind(expected="allowed", observed="allowed", is_right=True),)
    grid = Grid(title="", rows=("a", "b"), columns=("c",), kinds=kinds, cells=((0,), (0,)))

    found = page(tmp_path, *run(("t", step("t", grids=(grid,)), {})))

    assert "2 pairs, all as expected" in found.text


def test_a_fault_lasts_until_its_stop_and_another_until_the_end_of_its_test(tmp_path: Path) -> None:
    steps = [
        *step("t", 0, type="chaos", title="stop kubelet", ongoing="outage", at=10.0),
        *step("t", 1, type="background", title="start load", ongoing="load", at=11.0),
        *step("t", 2, at=20.0),
        *step("t", 3, type="stop", title="stop outage", ongoing="outage", at=30.0),
    ]

    found = page(tmp_path, *run(("t", steps, {})))

    assert [bar(each) for each in found.all("rect", "fault") if "rx" in each] == [bar_of(10, 11), bar_of(10, 31)]
    assert [bar(each) for each in found.all("rect", "probe") if "rx" in each] == [bar_of(11, 60)]
    assert [bar(each) for each in found.all("rect", "shadow")] == [bar_of(10, 31)]
    assert "stop kubelet: 21s, from 10s on" in found.text


def test_a_fault_that_ends_with_its_step_lies_over_what_else_happened(tmp_path: Path) -> None:
    found = page(tmp_path, *run(("t", [*step("t", 0, type="chaos", title="pull the cable", at=10.0)], {})))

    assert [bar(each) for each in found.all("rect", "shadow")] == [bar_of(10, 11)]


def bar(attrs: dict[str, str]) -> tuple[str, str]:
    """Where a bar begins and how wide it is."""
    return attrs["x"], attrs["width"]


def bar_of(begin: float, end: float) -> tuple[str, str]:
    """The same of a time on an axis of 60 seconds."""
    return f"{100 * begin / 60:.3f}%", f"{100 * (end - begin) / 60:.3f}%"


@pytest.mark.parametrize(("status", "look"), [("passed", "inside"), ("failed", "inside bad")])
def test_a_phase_has_its_name_in_its_bar_in_a_colour_that_stands_out(tmp_path: Path, status: Status, look: str) -> None:
    begin = PhaseStarted(spec=SPEC, phase="terraform apply", elapsed=1.0)
    end = PhaseFinished(spec=SPEC, phase="terraform apply", status=status, seconds=30.0, message="", elapsed=31.0)

    first, *rest = run(("t", step("t", at=40.0), {}))
    found = page(tmp_path, first, begin, end, *rest)

    assert [each["class"] for each in found.all("text", "inside")] == [look]


def test_a_flaky_test_shows_what_it_failed_of(tmp_path: Path) -> None:
    again = TestRerun(spec=SPEC, test="t", rerun=1, reruns=2, seconds=1.0, message="first try lost", line=3)
    steps = [*step("t", status="failed", message="lost 3 of 9"), again, *step("t")]

    found = page(tmp_path, *run(("t", steps, {"rerun": 1, "reruns": 2, "flaky": True})))

    assert len(found.all("article", "flaky")) == 1
    assert "Try 1 failed: first try lost" in found.text
    assert "lost 3 of 9" in found.text


def test_ten_thousand_tests_are_a_report_of_a_handy_size(tmp_path: Path) -> None:
    names = [f"test {number}" for number in range(10_000)]
    bad = {"status": "failed", "message": "no"}
    tests = [(name, step(name), bad if number % 2_000 == 0 else {}) for number, name in enumerate(names)]

    found = page(tmp_path, *run(*tests))

    assert len(found.all("li", "test")) == 10_000
    assert len(found.all("article")) == 5
    assert "9750 more tests, which went well and took less time, aren't drawn." in found.text
    assert (tmp_path / "report.html").stat().st_size < 10_000_000


@pytest.mark.parametrize(
    ("begin", "end", "labels"),
    [
        (66.2, 67.1, ["1m06.2s", "1m06.4s", "1m06.6s", "1m06.8s", "1m07.0s"]),
        (0.0, 60.0, ["0", "10s", "20s", "30s", "40s", "50s", "1m00s"]),
        (5.0, 5.105, ["5.00s", "5.02s", "5.04s", "5.06s", "5.08s", "5.10s"]),
        (59.5, 60.5, ["59.6s", "59.8s", "1m00.0s", "1m00.2s", "1m00.4s"]),
        (0.0, 1.0, ["0", "200ms", "400ms", "600ms", "800ms", "1s"]),
    ],
)
def test_no_two_ticks_of_an_axis_say_the_same(begin: float, end: float, labels: list[str]) -> None:
    drawn = "".join(str(each) for each in ticks(Axis(begin, end), 50))

    assert re.findall(r">([^<]+)</text>", drawn) == labels

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from koalesce.events import AnyEvent, RunFinished, SpecFinished, SpecStarted, TestFinished, TestRerun, TestStarted
from koalesce.reporters.ctrf import Ctrf
from koalesce.reporters.jsonl import read_events
from koalesce.reporters.tap import Tap

RUNS = Path(__file__).parents[2] / "data" / "runs"
SPEC = "specs/a.yaml"
STATUSES = {"passed", "failed", "skipped", "pending", "other"}


def text(tmp_path: Path, kind: type[Ctrf | Tap], *events: AnyEvent) -> str:
    path = tmp_path / "report"
    reporter = kind(path)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return path.read_text(encoding="utf-8")


def results(tmp_path: Path, *events: AnyEvent) -> dict[str, Any]:
    document = json.loads(text(tmp_path, Ctrf, *events))
    assert (document["reportFormat"], document["specVersion"]) == ("CTRF", "1.0.0")
    found: dict[str, Any] = document["results"]
    return found


def one(name: str, **more: Any) -> list[AnyEvent]:
    end = {"status": "passed", "seconds": 1.5, "message": "", "line": 3, **more}
    return [
        SpecStarted(spec=SPEC, name="a", tests=(name,)),
        TestStarted(spec=SPEC, test=name, namespace="n", line=3),
        TestFinished(spec=SPEC, test=name, **end),
        SpecFinished(spec=SPEC, status=end["status"], seconds=2),
        RunFinished(status=end["status"], passed=1, failed=0, error=0, skipped=0, seconds=2),
    ]


@pytest.mark.parametrize("name", sorted(path.stem for path in RUNS.glob("*.jsonl")))
def test_ctrf_has_what_its_schema_requires_and_counts_what_it_has(tmp_path: Path, name: str) -> None:
    found = results(tmp_path, *read_events(RUNS / f"{name}.jsonl"))

    summary, tests = found["summary"], found["tests"]
    assert found["tool"]["name"] == "koalesce"
    assert {"tests", "passed", "failed", "skipped", "pending", "other", "start", "stop"} <= set(summary)
    assert summary["tests"] == len(tests) == sum(summary[status] for status in STATUSES)
    assert summary["stop"] >= summary["start"] > 1_500_000_000_000
    for test in tests:
        assert test["status"] in STATUSES
        assert isinstance(test["duration"], int)
        assert test["name"]


def test_ctrf_never_takes_an_error_for_a_failure(tmp_path: Path) -> None:
    tests = results(tmp_path, *read_events(RUNS / "red.jsonl"))["tests"]

    found = {test["name"]: (test["status"], test["rawStatus"]) for test in tests}
    assert found["pods reach each other"] == ("failed", "failed")
    assert found["policies hold"] == ("other", "error")
    assert found["peers"] == ("skipped", "skipped")


def test_ctrf_says_where_why_and_what_was_collected(tmp_path: Path) -> None:
    (test,) = results(tmp_path, *one("t", status="failed", message="no\x1b[31m", evidence="runs/t"))["tests"]

    assert test == {
        "name": "t", "status": "failed", "duration": 1500, "suite": [SPEC], "rawStatus": "failed", "filePath": SPEC,
        "line": 3, "message": "no", "labels": {"step": "test"}, "extra": {"evidence": "runs/t"},
    }  # fmt: skip


def test_both_tell_of_flaky_tests(tmp_path: Path) -> None:
    again = TestRerun(spec=SPEC, test="t", rerun=1, reruns=1, seconds=1.0, message="lost", line=3)
    begin, start, *rest = one("t", rerun=1, reruns=1, flaky=True)
    events = [begin, start, again, start, *rest]

    (test,) = results(tmp_path, *events)["tests"]

    assert (test["status"], test["retries"], test["flaky"]) == ("passed", 1, True)
    assert "  flaky: true\n" in text(tmp_path, Tap, *events)


def test_tap_keeps_to_its_plan_on_every_level(tmp_path: Path) -> None:
    for name in ("green", "red", "kept"):
        lines = text(tmp_path, Tap, *read_events(RUNS / f"{name}.jsonl")).splitlines()

        assert lines[0] == "TAP version 14"
        points = [line for line in lines if re.match(r"(not )?ok ", line)]
        assert lines[1] == f"1..{len(points)}"
        plans = [int(line.strip()[3:]) for line in lines if line.startswith("    1..")]
        inner = [line for line in lines if re.match(r"    (not )?ok ", line)]
        assert sum(plans) == len(inner)
        assert not any(line.startswith("Bail out!") for line in lines)


def test_tap_of_a_failure_and_a_skip(tmp_path: Path) -> None:
    failed = text(tmp_path, Tap, *one("t # TODO\nnot ok 7", status="failed", message="no\nok 1 - faked"))
    skipped = text(tmp_path, Tap, *one("t", status="skipped", message="requires ipvs"))

    assert failed == (
        "TAP version 14\n1..1\n# Subtest: specs/a.yaml\n    1..1\n"
        "    not ok 1 - t \\# TODO not ok 7\n"
        '      ---\n      duration_ms: 1500\n      severity: "fail"\n      message: "no\\nok 1 - faked"\n      at: 3\n      ...\n'
        "not ok 1 - specs/a.yaml\n"
    )
    assert "    ok 1 - t # SKIP requires ipvs\n" in skipped
    assert skipped.endswith("ok 1 - specs/a.yaml # SKIP\n")


def test_a_run_that_was_cut_off_bails_out(tmp_path: Path) -> None:
    events = list(read_events(RUNS / "red.jsonl"))

    assert text(tmp_path, Tap, *events[: len(events) // 2]).endswith("Bail out! the run did not end\n")

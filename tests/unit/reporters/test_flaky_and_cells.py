"""Tests that were run again, cells of matrices and several clusters, in every report."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path

from koalesce.events import (
    AnyEvent,
    ClusterReady,
    RunFinished,
    SpecFinished,
    SpecStarted,
    StepFinished,
    TeardownFinished,
    TestFinished,
    TestRerun,
    TestStarted,
    from_json,
    to_json,
)
from koalesce.reporters.console import LiveView
from koalesce.reporters.junit import JUnit
from koalesce.reporters.plain import Plain

SPEC = "specs/a.yaml [kubernetes=1.34]"


def step(status: str, message: str, *, spec: str = SPEC) -> StepFinished:
    return StepFinished(
        spec=spec, test="t", section="steps", index=0, type="script", title="look", line=7, status=status,  # type: ignore[arg-type]  # a status
        attempts=1, seconds=0.1, message=message,
    )  # fmt: skip


def flaky_run() -> list[AnyEvent]:
    return [
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        TestStarted(spec=SPEC, test="t", namespace="n1", line=5),
        step("failed", "first time"),
        TestRerun(spec=SPEC, test="t", rerun=1, reruns=2, seconds=0.1, message="look: first time", line=5),
        TestStarted(spec=SPEC, test="t", namespace="n2", line=5, rerun=1),
        step("passed", "fine"),
        TestFinished(
            spec=SPEC, test="t", status="passed", seconds=0.3, message="", line=5, rerun=1, reruns=2, flaky=True
        ),
        SpecFinished(spec=SPEC, status="passed", seconds=1.0),
        RunFinished(status="passed", passed=1, failed=0, error=0, skipped=0, seconds=1.0, flaky=1),
    ]


def red_run() -> list[AnyEvent]:
    events = flaky_run()
    events[5] = step("failed", "second time")
    events[6] = TestFinished(
        spec=SPEC, test="t", status="failed", seconds=0.3, message="look: second time", line=5, rerun=1, reruns=1
    )
    events[7:] = [
        SpecFinished(spec=SPEC, status="failed", seconds=1.0),
        RunFinished(status="failed", passed=0, failed=1, error=0, skipped=0, seconds=1.0),
    ]
    return events


def told(*events: AnyEvent) -> str:
    stream = io.StringIO()
    reporter = Plain(stream)
    for event in events:
        reporter.handle(event)
    return stream.getvalue()


def case_of(tmp_path: Path, events: list[AnyEvent]) -> ET.Element:
    reporter = JUnit(tmp_path / "junit.xml")
    for event in events:
        reporter.handle(event)
    reporter.close()
    return next(ET.parse(tmp_path / "junit.xml").iter("testcase"))


def test_a_flaky_test_is_told_as_such_wherever_it_is_told() -> None:
    assert told(*flaky_run()) == (
        "=== RUN   specs/a.yaml [kubernetes=1.34]\n"
        "--- FAIL: t (0.10s), running it again (rerun 1 of 2)\n"
        "    --- FAIL: look (0.10s)\n"
        "        specs/a.yaml:7 [kubernetes=1.34]: script: first time\n"
        "--- PASS: t (0.30s) (flaky: passed on rerun 1 of 2)\n"
        "ok  specs/a.yaml [kubernetes=1.34]  1s  (1 flaky)\n"
        "\n"
        "FLAKY  specs/a.yaml:5 [kubernetes=1.34]  t (flaky: passed on rerun 1 of 2): look: first time\n"
        "PASS  1 passed (1 flaky) in 1s\n"
    )


def test_one_that_failed_each_time_says_how_often_it_was_tried() -> None:
    text = told(*red_run())

    assert "--- FAIL: t (0.30s) (after 1 of 1 reruns)\n" in text
    assert "second time" in text


def test_a_report_has_flaky_failures_where_it_passed_in_the_end(tmp_path: Path) -> None:
    case = case_of(tmp_path, flaky_run())

    assert [child.tag for child in case] == ["flakyFailure", "system-out"]
    assert case[0].attrib == {"message": "look: first time", "type": "script"}
    assert "specs/a.yaml:7" in (case[0].findtext("stackTrace") or "")
    assert case[1].text == (
        "try 1:\nfailed: look (0.10s, attempts: 1) first time\ntry 2:\npassed: look (0.10s, attempts: 1) fine"
    )


def test_a_report_has_reruns_where_it_failed_in_the_end(tmp_path: Path) -> None:
    case = case_of(tmp_path, red_run())

    assert [(child.tag, child.get("message")) for child in case][:2] == [
        ("failure", "look: first time"),
        ("rerunFailure", "look: second time"),
    ]


def test_a_case_of_a_cell_names_the_file_that_there_is(tmp_path: Path) -> None:
    case = case_of(tmp_path, flaky_run())

    assert (case.get("file"), case.get("classname")) == ("specs/a.yaml", "specs.a [kubernetes=1.34]")


def test_the_live_view_counts_what_is_flaky() -> None:
    stream = io.StringIO()
    view = LiveView(stream, color=False)
    for event in flaky_run()[:-1]:
        view.handle(event)
    view.tick(1.0)

    assert "1 passed · 1 flaky" in stream.getvalue()


def test_events_of_reruns_come_back_as_they_were() -> None:
    assert [from_json(to_json(event)) for event in flaky_run()] == flaky_run()


def cluster(name: str) -> ClusterReady:
    return ClusterReady(
        spec="s.yaml", cluster=name, provider="local", kubernetes="1.37.2", nodes=(), capabilities=(),
        kubeconfig=f"/{name}", seconds=1.0,
    )  # fmt: skip


def test_each_of_several_clusters_is_told(tmp_path: Path) -> None:
    events: list[AnyEvent] = [
        SpecStarted(spec="s.yaml", name="s", tests=("t",)),
        cluster("s-east-1"),
        cluster("s-west-1"),
        TeardownFinished(spec="s.yaml", cluster="s-east-1", seconds=1.0, kept=True, command="koalesce down s-east-1"),
        TeardownFinished(
            spec="s.yaml", cluster="s-west-1", seconds=1.0, message="left: a link", command="koalesce down s-west-1"
        ),
    ]

    text = told(*events)

    assert "cluster s-east-1 is kept; use it with: export KUBECONFIG=/s-east-1" in text
    assert "teardown of cluster s-west-1" in text
    assert case_of(tmp_path, events).get("name") == "teardown of s-west-1"

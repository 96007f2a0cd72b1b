"""How reports tell of a spec that wasn't run, as it has passed before and nothing has changed since."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from koalesce.events import (
    AnyEvent,
    ClusterReady,
    RunFinished,
    RunStarted,
    SpecFinished,
    SpecStarted,
    StepFinished,
    StepStarted,
    TestFinished,
    TestStarted,
)
from koalesce.reporters import junit, markdown
from koalesce.reporters.comparison import compare
from koalesce.reporters.ctrf import document
from koalesce.reporters.go_test import GoTest
from koalesce.reporters.html.evidence import Evidence
from koalesce.reporters.html.page import render
from koalesce.reporters.plain import Plain
from koalesce.reporters.record import RunRecord
from koalesce.reporters.tap import lines

AT = "2026-03-01T12:00:00Z"


def spec(name: str, *, cached: str = "", uncached: str = "", seconds: float = 2.0) -> list[AnyEvent]:
    step: dict[str, Any] = {
        "spec": name,
        "test": "t",
        "section": "steps",
        "index": 0,
        "type": "sleep",
        "title": "s",
        "line": 4,
    }
    return [
        SpecStarted(spec=name, name=name, tests=("t",), cached=cached),
        ClusterReady(
            spec=name, cluster="c1", provider="local", kubernetes="1.37.2", nodes=(), capabilities=(), kubeconfig="",
            seconds=3.0, reused=bool(cached),
        ),
        TestStarted(spec=name, test="t", namespace="t-1", line=3),
        StepStarted(**step, timeout=30.0),
        StepFinished(**step, status="passed", attempts=1, seconds=seconds, message="slept"),
        TestFinished(spec=name, test="t", status="passed", seconds=seconds, message="", line=3),
        SpecFinished(spec=name, status="passed", seconds=0.0 if cached else 9.0, uncached=uncached),
    ]  # fmt: skip


def run(*specs: list[AnyEvent]) -> list[AnyEvent]:
    events: list[AnyEvent] = [RunStarted(run_id="r1", version="0.1.0", specs=(), folder="f")]
    events += [event for each in specs for event in each]
    events.append(RunFinished(status="passed", passed=len(specs), failed=0, error=0, skipped=0, seconds=9.5))
    return [
        dataclasses.replace(event, at=f"2026-03-01T13:00:{number:02d}.000Z", elapsed=float(number))
        for number, event in enumerate(events)
    ]


RUN = run(spec("a.yaml", cached=AT), spec("b.yaml", uncached="a script runs on this machine"))


def record(events: list[AnyEvent]) -> RunRecord:
    found = RunRecord()
    for event in events:
        found.apply(event)
    return found


def written(make: Callable[[io.StringIO], Any], events: list[AnyEvent] = RUN) -> list[str]:
    stream = io.StringIO()
    reporter = make(stream)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return stream.getvalue().splitlines()


def test_it_is_a_line_of_the_log() -> None:
    found = written(Plain)

    assert found[0] == "ok  a.yaml  (cached)"
    assert "ok  b.yaml  9s" in found
    assert found[-1] == "PASS  2 passed (1 cached) in 9.5s"


def test_who_wants_to_know_it_all_is_told_what_it_was_and_why_another_is_not_kept() -> None:
    found = written(lambda stream: Plain(stream, verbose=True))

    assert found[1:4] == [
        "=== RUN   a.yaml",
        "    cluster c1: 0 nodes, Kubernetes 1.37.2, local (of an earlier run)",
        "=== RUN   t",
    ]
    assert found.index("--- PASS: t (2.00s)") < found.index("ok  a.yaml  (cached)")
    assert "    not cached: a script runs on this machine" in found


def test_gos_stream_has_no_times_of_it() -> None:
    found = [json.loads(line) for line in written(lambda stream: GoTest(stream, io.StringIO()))]

    mine = [line for line in found if line["Package"] == "a.yaml"]
    assert mine[-2]["Output"] == "ok  \ta.yaml\t(cached)\n"
    assert mine[-1] == {"Action": "pass", "Package": "a.yaml", "Elapsed": 0.0}
    assert not [line for line in mine if "Time" in line]
    assert [line["Action"] for line in mine if line.get("Test") == "t"][:2] == ["run", "output"]
    assert all("Time" in line for line in found if line["Package"] == "b.yaml")


def test_junit_has_a_property_of_it() -> None:
    suites = ET.fromstring(junit.render(record(RUN))).findall("testsuite")

    found = [[each.get("value") for each in suite.iter("property") if each.get("name") == "cached"] for suite in suites]
    assert found == [[AT], []]


def test_ctrf_tap_and_markdown_say_so() -> None:
    known = record(RUN)

    assert [test.get("extra") for test in document(known)["results"]["tests"]] == [{"cached": AT}, None]
    assert [line for line in lines(known) if "(cached)" in line] == [f"    # (cached): passed at {AT}"]
    assert "| ✅ a.yaml | 1.37.2 | 1 passed | (cached) |" in list(markdown.lines(known))


def test_the_html_report_says_so_and_draws_no_times_of_it() -> None:
    page = render(record(RUN), Evidence()).decode()

    assert page.count("(cached)") == 1
    assert "Timeline of b.yaml" in page
    assert "Timeline of a.yaml" not in page


def test_its_times_are_not_compared() -> None:
    earlier, now = (
        record(run(spec("a.yaml", cached=cached, seconds=seconds))) for cached, seconds in (("", 1.0), (AT, 60.0))
    )

    assert not compare(earlier, now).slower
    assert compare(earlier, record(run(spec("a.yaml", seconds=60.0)))).slower


def test_it_is_a_span_without_parts(tmp_path: Path) -> None:
    spans = pytest.importorskip("koalesce.reporters.spans")
    pytest.importorskip("opentelemetry.sdk")
    reporter = spans.to_file(tmp_path / "spans.json")
    for event in RUN:
        reporter.handle(event)
    reporter.close()

    text = (tmp_path / "spans.json").read_text()
    found = [
        span
        for line in text.splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    cached = [
        attribute["value"]["stringValue"]
        for span in found
        for attribute in span.get("attributes", ())
        if attribute["key"] == "koalesce.cached"
    ]
    assert cached == [AT]
    assert len([span for span in found if span["name"].startswith("test")]) <= 1

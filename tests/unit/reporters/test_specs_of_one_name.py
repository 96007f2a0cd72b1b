"""Specs that have one name: every report tells them apart by their paths."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from koalesce.events import AnyEvent, RunFinished, RunStarted, SpecFinished, SpecStarted, TestFinished, TestStarted
from koalesce.reporters import FILE_REPORTERS
from koalesce.reporters.go_test import GoTest
from koalesce.reporters.plain import Plain
from tests.unit.reporters.pages import Page

PATHS = ("a/dns.yaml", "b/dns.yaml", "b/dns.yml", "b/d ns.yaml", "b/d_ns.yaml")


def run(paths: tuple[str, ...], name: str = "dns") -> list[AnyEvent]:
    """A run of specs, of which only the second's test fails."""
    events: list[AnyEvent] = [RunStarted(run_id="r", version="1", specs=paths, folder="")]
    for number, path in enumerate(paths):
        status = "failed" if number == 1 else "passed"
        events += [
            SpecStarted(spec=path, name=name, tests=("t",)),
            TestStarted(spec=path, test="t", namespace="n", line=3),
            TestFinished(spec=path, test="t", status=status, seconds=1.0, message="it is not", line=3),  # type: ignore[arg-type]  # a status
            SpecFinished(spec=path, status=status, seconds=1.0),  # type: ignore[arg-type]  # a status
        ]
    return [*events, RunFinished(status="failed", passed=len(paths) - 1, failed=1, error=0, skipped=0, seconds=2.0)]


def written(report: str, folder: Path, events: list[AnyEvent]) -> str:
    path = folder / "report"
    reporter = FILE_REPORTERS[report].create(path)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return path.read_text(encoding="utf-8")


def test_junit_has_a_suite_and_a_class_for_each(tmp_path: Path) -> None:
    root = ET.fromstring(written("junit", tmp_path, run(PATHS)))

    assert [suite.get("name") for suite in root] == list(PATHS)
    assert [case.get("classname") for case in root.iter("testcase")] == [
        "a.dns", "b/dns.yaml", "b/dns.yml", "b.d ns", "b.d_ns",
    ]  # fmt: skip
    assert [len(case.findall("failure")) for case in root.iter("testcase")] == [0, 1, 0, 0, 0]


def test_cells_of_one_file_share_its_class(tmp_path: Path) -> None:
    root = ET.fromstring(written("junit", tmp_path, run(("a/x.yaml [v=1]", "a/x.yaml [v=2]"))))

    assert [case.get("classname") for case in root.iter("testcase")] == ["a.x [v=1]", "a.x [v=2]"]


def test_ctrf_has_a_suite_and_a_file_for_each(tmp_path: Path) -> None:
    tests = json.loads(written("ctrf", tmp_path, run(PATHS)))["results"]["tests"]

    assert [(test["suite"], test["filePath"]) for test in tests] == [([path], path) for path in PATHS]
    assert [test["status"] for test in tests] == ["passed", "failed", "passed", "passed", "passed"]


def test_tap_has_a_subtest_for_each(tmp_path: Path) -> None:
    lines = written("tap", tmp_path, run(PATHS)).splitlines()

    assert [line for line in lines if line.startswith(("ok", "not ok"))] == [
        f"{'not ok' if number == 2 else 'ok'} {number} - {path}" for number, path in enumerate(PATHS, start=1)
    ]


def test_the_stream_of_go_test_has_a_package_for_each() -> None:
    stream = io.StringIO()
    view = GoTest(stream, io.StringIO())
    for event in run(PATHS):
        view.handle(event)
    view.close()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    ends = [
        (line["Package"], line["Action"]) for line in lines if "Test" not in line and line["Action"] in ("pass", "fail")
    ]
    assert ends == [
        ("a/dns.yaml", "pass"), ("b/dns.yaml", "fail"), ("b/dns.yml", "pass"), ("b/d_ns.yaml", "pass"), ("b/d_ns.yaml#01", "pass"),
    ]  # fmt: skip


def test_lines_name_their_paths() -> None:
    stream = io.StringIO()
    view = Plain(stream)
    for event in run(PATHS[:2]):
        view.handle(event)
    view.close()

    assert "--- FAIL: t (1.00s)\n    b/dns.yaml:3: it is not\nFAIL  b/dns.yaml" in stream.getvalue()


@pytest.mark.parametrize(
    ("paths", "title"),
    [
        (PATHS[:2], "a/dns.yaml, b/dns.yaml"),
        (("a/dns.yaml [v=1]", "a/dns.yaml [v=2]"), "dns"),
        (PATHS[:1], "dns"),
        (PATHS, "5 specs"),
    ],
)
def test_the_head_of_a_page_names_paths_where_names_would_not_tell(
    tmp_path: Path, paths: tuple[str, ...], title: str
) -> None:
    assert title in Page(written("html", tmp_path, run(paths))).text


def test_so_does_the_summary(tmp_path: Path) -> None:
    title = written("markdown", tmp_path, run(PATHS[:2])).splitlines()[0]

    assert title.replace("\\", "").endswith(": a/dns.yaml, b/dns.yaml")

"""`koalesce report`: reports of a run that is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from koalesce.cli.main import main

RUNS = Path(__file__).parents[2] / "data" / "runs"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_makes_every_report_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["report", str(RUNS / "red.jsonl"), "--html", "out/report.html", "--junit", "out/junit.xml"])

    assert (code, capsys.readouterr()) == (0, ("", ""))
    assert "pods reach each other" in Path("out/report.html").read_text()
    assert ET.parse("out/junit.xml").getroot().attrib["failures"] == "1"


def test_makes_the_stream_of_go_test(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(RUNS / "green.jsonl"), "--json", "--junit", "junit.xml"]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (lines[0]["Action"], lines[-1]["Action"], lines[-1]["Package"]) == ("start", "pass", "specs/quickstart.yaml")
    assert Path("junit.xml").exists()


def test_compares_two_runs(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(RUNS / f"{name}.jsonl") for name in ("interrupted", "green")]

    assert main(["report", files[0], "--baseline", files[1], "--html", "report.html"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "compared with run r1 of 2026-03-01T12:00:00.000Z: 1 newly failing, 2 new, 3 gone",
        "newly failing: specs/quickstart.yaml:20 second: the run ended in pod/web is Ready",
    ]
    assert "Beside an earlier run" in Path("report.html").read_text()


def test_a_report_may_go_to_standard_output_behind_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "out.tap").write_text("first\n")
    with (tmp_path / "out.tap").open("a") as out:
        command = [sys.executable, "-m", "koalesce", "report", str(RUNS / "green.jsonl"), "--tap", "-"]
        subprocess.run(command, stdout=out, check=True, timeout=60)

    assert (tmp_path / "out.tap").read_text().startswith("first\nTAP version 14\n")


def test_a_reader_of_the_stream_may_leave(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "koalesce", "report", str(RUNS / "red.jsonl"), "--json", "--junit", "junit.xml"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, "")
    assert ET.parse("junit.xml").getroot().attrib["failures"] == "1"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"spec": 5}, "SpecStarted.spec: expected a text, got 5"),
        ({"tests": "one"}, "SpecStarted.tests: expected a list, got 'one'"),
        ({"tests": [None]}, "SpecStarted.tests: expected a text, got None"),
        ({"elapsed": 1e999}, "SpecStarted.elapsed: expected a number, got inf"),
        ({"tests": ...}, "SpecStarted lacks tests"),
    ],
)
def test_an_event_with_something_else_in_it_is_named(
    broken: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (RUNS / "red.jsonl").read_text().splitlines()
    changed = {key: value for key, value in {**json.loads(lines[1]), **broken}.items() if value is not ...}
    Path("broken.jsonl").write_text("\n".join([lines[0], json.dumps(changed), *lines[2:]]) + "\n")

    assert main(["report", "broken.jsonl", "--html", "report.html"]) == 2
    assert capsys.readouterr().err.startswith(f"error: broken.jsonl:2: {said}\n")


def test_an_event_file_that_was_cut_off_still_makes_a_report() -> None:
    text = (RUNS / "red.jsonl").read_bytes()
    Path("cut.jsonl").write_bytes(text[: len(text) // 2])

    assert main(["report", "cut.jsonl", "--html", "report.html"]) == 0
    assert "The run did not end" in Path("report.html").read_text()


def test_a_broken_line_is_named_and_leaves_older_reports_alone(capsys: pytest.CaptureFixture[str]) -> None:
    lines = (RUNS / "green.jsonl").read_text().splitlines()
    Path("broken.jsonl").write_text("\n".join([*lines[:2], "{oops", *lines[2:]]) + "\n")
    Path("report.html").write_text("old")

    assert main(["report", "broken.jsonl", "--html", "report.html"]) == 2
    assert "broken.jsonl:3: " in capsys.readouterr().err
    assert Path("report.html").read_text() == "old"


def test_a_newer_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    line = (RUNS / "green.jsonl").read_text().splitlines()[0]
    Path("newer.jsonl").write_text(line.replace('"format":1', '"format":99') + "\n")

    assert main(["report", "newer.jsonl", "--html", "report.html"]) == 2
    assert "newer.jsonl:1: events of format 99, but this version reads up to 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["events.jsonl"], "no report is asked for"),
        (["events.jsonl", "--html", "events.jsonl"], "events.jsonl: what is read can't be written over"),
        (["events.jsonl", "--html", "a", "--junit", "a"], "two reports can't be written to the same file"),
        (["events.jsonl", "--json", "--tap", "-"], "--json and another report can't both be standard output"),
        (["events.jsonl", "--html", "."], "can't write a report to ."),
        (["events.jsonl", "--html", "a", "--junit-strict"], "--junit-strict says how --junit writes its report"),
        (["gone.jsonl", "--html", "a"], "gone.jsonl: can't be read: No such file"),
        (["empty.jsonl", "--html", "a"], "empty.jsonl: there are no events in it"),
        (["events.jsonl", "--baseline", "empty.jsonl"], "--baseline empty.jsonl: no spec is in it"),
        (["events.jsonl", "--baseline", "gone.jsonl"], "gone.jsonl: can't be read: No such file"),
    ],
)
def test_what_can_not_work_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("events.jsonl").write_text((RUNS / "green.jsonl").read_text())
    Path("empty.jsonl").write_text("")

    assert main(["report", *words]) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["empty.jsonl", "events.jsonl"]


def test_evidence_is_found_beside_the_events_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("download", "elsewhere"):
        folder = tmp_path / name / "proof"
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("")
        (folder / "events.txt").write_text(f"words from {name}")
    lines = (
        '{"event":"SpecStarted","spec":"a.yaml","name":"a","tests":["near","far"]}',
        '{"event":"TestFinished","spec":"a.yaml","test":"near","status":"failed","seconds":1,"message":"m","line":1,"evidence":"proof"}',
        '{"event":"TestFinished","spec":"a.yaml","test":"far","status":"failed","seconds":1,"message":"m","line":1,"evidence":"%s"}'
        % (tmp_path / "elsewhere" / "proof"),
    )
    (tmp_path / "download" / "events.jsonl").write_text("\n".join(lines) + "\n")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    assert main(["report", "../download/events.jsonl", "--html", "report.html"]) == 0
    assert "words from download" in Path("report.html").read_text()
    assert "words from elsewhere" not in Path("report.html").read_text()

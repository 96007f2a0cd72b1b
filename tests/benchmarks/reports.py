"""What reporting costs: `python tests/benchmarks/reports.py` prints it."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from koalesce.events import AnyEvent, SpecStarted, StepAttempted, StepStarted, TestFinished, TestStarted
from koalesce.reporters import Reporter
from koalesce.reporters.console import LiveView
from koalesce.reporters.ctrf import Ctrf
from koalesce.reporters.go_test import GoTest
from koalesce.reporters.html import Html
from koalesce.reporters.jsonl import JsonLines
from koalesce.reporters.junit import JUnit
from koalesce.reporters.markdown import Markdown
from koalesce.reporters.plain import Plain
from koalesce.reporters.record import RunRecord
from koalesce.reporters.tap import Tap

SPEC = "specs/many.yaml"


def main() -> None:
    events = run_of(10_000)
    with tempfile.TemporaryDirectory() as folder:
        show("JUnit of 10,000 cases", lambda: consume(JUnit(Path(folder, "junit.xml")), events))
        show(f"event file of {len(events):,} events", lambda: consume(JsonLines(Path(folder, "events.jsonl")), events))
        show("CTRF of 10,000 cases", lambda: consume(Ctrf(Path(folder, "ctrf.json")), events))
        show("TAP of 10,000 cases", lambda: consume(Tap(Path(folder, "report.tap")), events))
        show("Markdown of 10,000 cases", lambda: consume(Markdown(Path(folder, "summary.md")), events))
        show("HTML of 10,000 cases", lambda: consume(Html(Path(folder, "report.html")), events))
        show(
            "HTML beside an earlier run",
            lambda: consume(Html(Path(folder, "report.html"), earlier=known(events)), events),
        )
    show(f"go test -json of {len(events):,} events", lambda: consume(GoTest(io.StringIO(), io.StringIO()), events))
    show(f"plain lines of {len(events):,} events", lambda: consume(Plain(io.StringIO()), events))
    show("live view, 8 tests, 60 s at 4 pictures a second", live_view)
    show(
        "koalesce --help",
        lambda: subprocess.run([sys.executable, "-m", "koalesce", "--help"], stdout=subprocess.DEVNULL, check=True),
    )


def show(what: str, act: Callable[[], object]) -> None:
    began, cpu = time.monotonic(), cpu_seconds()
    act()
    print(f"{what:<50} {time.monotonic() - began:7.3f} s, CPU {cpu_seconds() - cpu:7.3f} s")


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run_of(count: int) -> list[AnyEvent]:
    names = tuple(f"test {number}" for number in range(count))
    events: list[AnyEvent] = [SpecStarted(spec=SPEC, name="many", tests=names)]
    for name in names:
        events += [*running(name), TestFinished(spec=SPEC, test=name, status="passed", seconds=0.1, message="", line=1)]
    return events


def running(name: str) -> list[AnyEvent]:
    place = {"spec": SPEC, "test": name, "section": "steps", "index": 0}
    return [
        TestStarted(spec=SPEC, test=name, namespace="n", line=1),
        StepStarted(**place, type="wait-for", title="pod/web is Ready", line=2, timeout=60.0),  # type: ignore[arg-type]
        StepAttempted(**place, attempt=1, outcome="failed", message="pod/web: Ready is False"),  # type: ignore[arg-type]
    ]


def known(events: list[AnyEvent]) -> RunRecord:
    record = RunRecord()
    for event in events:
        record.apply(event)
    return record


def consume(reporter: Reporter, events: list[AnyEvent]) -> None:
    for event in events:
        reporter.handle(event)
    reporter.close()


def live_view() -> None:
    os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
    view = LiveView(io.StringIO())
    view.handle(SpecStarted(spec=SPEC, name="many", tests=tuple(map(str, range(8)))))
    for number in range(8):
        for event in running(str(number)):
            view.handle(event)
    for picture in range(240):
        view.tick(picture * 0.25)
    view.close()


if __name__ == "__main__":
    main()

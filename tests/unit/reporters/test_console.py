"""The live view, seen through a terminal small enough to write down: the last picture, and the lines above it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from koalesce.events import (
    AnyEvent,
    ClusterReady,
    PhaseProgress,
    PhaseStarted,
    RunFinished,
    SpecStarted,
    StepAttempted,
    StepStarted,
    TestFinished,
    TestStarted,
)
from koalesce.reporters.console import LiveView
from koalesce.reporters.jsonl import read_events

RUNS = Path(__file__).parents[2] / "data" / "runs"
SPEC = "specs/a.yaml"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": "100", "LINES": "12", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)


class Screen:
    """A view whose output is kept; `picture` is what the last drawing put there, `lines` everything as text."""

    def __init__(self, *, verbose: bool = False, environ: dict[str, str] | None = None) -> None:
        self.stream = io.StringIO()
        self.view = LiveView(self.stream, verbose=verbose, color=False, environ=environ)
        self._seen = 0

    def show(self, *events: AnyEvent) -> None:
        for event in events:
            self.view.handle(event)

    def picture(self, elapsed: float) -> list[str]:
        self._seen = len(self.stream.getvalue())
        self.view.tick(elapsed)
        return self.lines(self._seen)

    def lines(self, start: int = 0) -> list[str]:
        text = _CONTROL.sub("", self.stream.getvalue()[start:]).replace("\r", "")
        return [line.rstrip() for line in text.split("\n") if line.strip()]


def running(test: str = "t", step: str = "pod/web is Ready", seen: str = "pod/web: Ready is False") -> list[AnyEvent]:
    place = {"spec": SPEC, "test": test, "section": "steps", "index": 0}
    return [
        TestStarted(spec=SPEC, test=test, namespace="n", line=3, elapsed=2.0),
        StepStarted(**place, type="wait-for", title=step, line=4, timeout=60.0, elapsed=3.0),  # type: ignore[arg-type]
        StepAttempted(**place, attempt=1, outcome="failed", message=seen, elapsed=3.0),  # type: ignore[arg-type]
    ]


def test_draws_phases_before_the_cluster_is_up() -> None:
    screen = Screen()
    screen.show(
        SpecStarted(spec=SPEC, name="a", tests=("t", "u")),
        PhaseStarted(spec=SPEC, phase="images"),
        PhaseProgress(spec=SPEC, phase="images", message="pulling coredns"),
    )

    assert screen.picture(2.0) == [
        "specs/a.yaml  no cluster yet  0/2",
        "  images  2s  pulling coredns",
        "0/2 tests · 2s",
    ]


def test_draws_the_running_step_what_it_saw_and_its_time() -> None:
    screen = Screen()
    screen.show(
        SpecStarted(spec=SPEC, name="a", tests=("t", "u")),
        ClusterReady(
            spec=SPEC,
            cluster="a-1",
            provider="local",
            kubernetes="v1.37.2",
            nodes=({}, {}),
            capabilities=(),
            kubeconfig="k",
            seconds=1.0,
        ),
        *running(),
    )

    assert screen.picture(8.0) == [
        "specs/a.yaml  a-1 (local, Kubernetes v1.37.2, nodes: 2)  0/2",
        "  t  5s of 1m00s  pod/web is Ready  pod/web: Ready is False",
        "0/2 tests · 8s",
    ]


def test_draws_four_times_a_second_at_most() -> None:
    screen = Screen()
    screen.show(SpecStarted(spec=SPEC, name="a", tests=("t",)))

    assert screen.picture(1.0) != []
    assert screen.picture(1.2) == []
    assert screen.picture(1.25) != []


def test_a_failure_stands_above_the_picture_with_the_next_drawing() -> None:
    screen = Screen()
    screen.show(SpecStarted(spec=SPEC, name="a", tests=("t", "u")))
    screen.picture(1.0)
    screen.show(TestFinished(spec=SPEC, test="t", status="failed", seconds=0.5, message="it broke", line=3))

    lines = screen.picture(2.0)

    assert lines[:2] == ["--- FAIL: t (0.50s)", "    specs/a.yaml:3: it broke"]
    assert lines[-1] == "1/2 tests · 1 failed · 2s"


def test_fits_the_terminal() -> None:
    screen = Screen()
    names = tuple(f"test-{n}" for n in range(30))
    screen.show(SpecStarted(spec=SPEC, name="a", tests=names), *(e for name in names for e in running(name, "x" * 200)))

    lines = screen.picture(4.0)[1:]

    assert len(lines) <= 12
    assert max(len(line) for line in lines) <= 100
    assert lines[-1] == "0/30 tests · 4s"


def test_leaves_only_lines_behind() -> None:
    screen = Screen()
    for event in read_events(RUNS / "green.jsonl"):
        screen.view.handle(event)

    assert screen.lines() == [
        "--- SKIP: ipvs only (0.00s)",
        "    requires the capability ipvs-rr, which the cluster doesn't have",
        "ok  specs/quickstart.yaml  15.6s  (1 skipped)",
        "PASS  2 passed, 1 skipped in 15.6s",
    ]


def test_verbose_leaves_a_line_for_each_test_that_passed() -> None:
    screen = Screen(verbose=True)
    for event in read_events(RUNS / "green.jsonl"):
        screen.view.handle(event)

    assert [line for line in screen.lines() if line.startswith("--- PASS")] == [
        "--- PASS: pods answer (11.65s)",
        "--- PASS: dns answers (0.42s)",
    ]


def test_what_went_wrong_names_its_spec_where_there_are_several() -> None:
    screen = Screen()
    for spec in ("a.yaml", "b.yaml"):
        screen.view.handle(SpecStarted(spec=spec, name="x", tests=("t", "u")))
    for spec, status in (("a.yaml", "passed"), ("b.yaml", "failed")):
        screen.view.handle(
            TestFinished(spec=spec, test="t", status=status, seconds=1.0, message="it is not", line=3)  # type: ignore[arg-type]  # a status
        )
    screen.view.close()

    assert screen.lines() == ["=== NAME  b.yaml", "--- FAIL: t (1.00s)", "    b.yaml:3: it is not"]


def test_gives_the_cursor_back_when_the_run_is_cut_short() -> None:
    screen = Screen()
    screen.show(SpecStarted(spec=SPEC, name="a", tests=()))
    screen.picture(1.0)
    screen.view.say("SIGINT: ending the run")
    screen.view.close()
    screen.view.close()

    assert screen.stream.getvalue().count("\x1b[?25h") == 1
    assert [line for line in screen.lines() if line.endswith("SIGINT: ending the run")]


def test_foreign_text_is_neither_markup_nor_control() -> None:
    screen = Screen()
    hostile = "[/bold]\x1b]0;owned\x07 :smile: \x1b[5mblink\x07\n::error::x"
    screen.show(SpecStarted(spec=SPEC, name="a", tests=()), *running(hostile, hostile, hostile))
    picture = screen.picture(4.0)
    screen.show(TestFinished(spec=SPEC, test=hostile, status="error", seconds=0.5, message=hostile, line=3))
    screen.show(TestFinished(spec=SPEC, test="u", status="skipped", seconds=0.0, message="::error::x", line=3))
    screen.show(RunFinished(status="error", passed=0, failed=0, error=1, skipped=0, seconds=1.0))

    text = screen.stream.getvalue()
    assert "owned" not in text
    assert "\x07" not in text
    assert "\x1b[5m" not in text
    assert "  [/bold] :smile: blink� ::error::x  1s of 1m00s" in picture[1]
    assert not [line for line in screen.lines() if line.lstrip().startswith("::")]


@pytest.mark.parametrize(
    ("environ", "widths", "moves"),
    [
        ({"TMUX": "x"}, (60, 20), ["3"]),  # three rows, of 33, 58 and 14 cells, have become two, three and one
        ({"TMUX": "x"}, (40, 39), ["1"]),  # the second was cut off at 40
        ({"TMUX": "x"}, (60, 200), []),
        ({"TMUX": "x", "STY": "x"}, (60, 20), []),
        ({}, (60, 20), []),  # xterm cuts rows off: above them are lines that must stay
    ],
)
def test_rows_that_a_narrower_terminal_has_broken_are_taken_away_as_a_whole(
    environ: dict[str, str], widths: tuple[int, int], moves: list[str]
) -> None:
    screen = Screen(environ=environ)
    screen.view._console.width = widths[0]
    screen.show(SpecStarted(spec=SPEC, name="a", tests=("t",)), *running())
    screen.picture(4.0)
    drawn = len(screen.stream.getvalue())

    screen.view._console.width = widths[1]
    screen.picture(5.0)

    assert re.findall(r"\x1b\[(\d+)A\r\x1b\[J", screen.stream.getvalue()[drawn:]) == moves

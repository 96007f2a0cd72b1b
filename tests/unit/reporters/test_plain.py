"""Plain output, as whole texts: runs were recorded as event files, what they look like lies beside them."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest

from koalesce.events import (
    AnyEvent,
    ClusterReady,
    PhaseFinished,
    PhaseProgress,
    PhaseStarted,
    RunFinished,
    SpecFinished,
    SpecStarted,
    StepAttempted,
    StepFinished,
    StepStarted,
    TeardownFinished,
    TestFinished,
    TestStarted,
)
from koalesce.reporters.jsonl import read_events
from koalesce.reporters.plain import Plain

RUNS = Path(__file__).parents[2] / "data" / "runs"
SPEC = "specs/a.yaml"


def told(*events: AnyEvent, verbose: bool = False, phases: bool = True, color: bool = False) -> str:
    stream = io.StringIO()
    reporter = Plain(stream, verbose=verbose, phases=phases, color=color)
    for event in events:
        reporter.handle(event)
    return stream.getvalue()


@pytest.mark.parametrize("run", ["green", "red", "interrupted", "kept"])
def test_tells_a_recorded_run(run: str) -> None:
    assert told(*read_events(RUNS / f"{run}.jsonl")) == (RUNS / f"{run}.txt").read_text()


@pytest.mark.parametrize("run", ["green", "red"])
def test_tells_every_step_when_verbose(run: str) -> None:
    assert told(*read_events(RUNS / f"{run}.jsonl"), verbose=True) == (RUNS / f"{run}.verbose.txt").read_text()


def test_is_quiet_about_phases_before_a_person() -> None:
    assert told(*read_events(RUNS / "green.jsonl"), phases=False) == (RUNS / "green.quiet.txt").read_text()


def test_a_run_without_a_passed_test_is_not_called_a_pass() -> None:
    end = RunFinished(status="passed", passed=0, failed=0, error=0, skipped=2, seconds=1.0)

    assert told(end) == "NO TESTS  0 passed, 2 skipped in 1s\n"


def test_names_the_spec_when_lines_of_another_come_between() -> None:
    def passed(spec: str) -> TestFinished:
        return TestFinished(spec=spec, test="t", status="passed", seconds=0.5, message="", line=3)

    a, b = (SpecStarted(spec=f"specs/{name}.yaml", name=name, tests=("t",)) for name in "ab")

    assert told(a, b, passed(a.spec), passed(b.spec)).splitlines() == [
        "=== RUN   specs/a.yaml",
        "=== RUN   specs/b.yaml",
        "=== NAME  specs/a.yaml",
        "--- PASS: t (0.50s)",
        "=== NAME  specs/b.yaml",
        "--- PASS: t (0.50s)",
    ]


def test_a_cluster_that_is_made_ahead_is_told_under_its_spec() -> None:
    ready = ClusterReady(
        spec="b", cluster="b-1", provider="local", kubernetes="1.37.2", nodes=({"name": "n"},), capabilities=(), kubeconfig="", seconds=3.0,
    )  # fmt: skip
    text = told(
        SpecStarted(spec="a", name="a", tests=("t",)),
        ready,
        TestFinished(spec="a", test="t", status="passed", seconds=1.0, message="", line=1),
        SpecFinished(spec="a", status="passed", seconds=2.0),
        SpecStarted(spec="b", name="b", tests=("t",)),
        SpecStarted(spec="c", name="c", tests=("t",)),
        dataclasses.replace(ready, spec="c", reused=True),
        TeardownFinished(spec="b", cluster="b-1", seconds=0.5),
    )

    assert text == (
        "=== RUN   a\n"
        "=== NAME  b\n    cluster b-1: 1 node, Kubernetes 1.37.2, local (3s)\n"
        "=== NAME  a\n--- PASS: t (1.00s)\nok  a  2s\n"
        "=== RUN   b\n"
        "=== RUN   c\n    cluster b-1: 1 node, Kubernetes 1.37.2, local (of an earlier spec)\n"
        "=== NAME  b\n    teardown (500ms)\n"
    )


def test_a_component_that_is_not_ready_is_told_once_and_what_is_new_after_it() -> None:
    step = finished(
        "ready", "ds/cni is rolled out", test="component cni", status="failed", message="1 of 3 pods", detail="a\nb"
    )
    message = "component cni: ds/cni is rolled out: 1 of 3 pods"
    text = told(
        step,
        PhaseFinished(spec=SPEC, phase="component cni", status="failed", seconds=2.0, message=message),
        *(
            TestFinished(spec=SPEC, test=name, status="skipped", seconds=0.0, message=f"not run: {message}", line=3)
            for name in "tu"
        ),
        SpecFinished(
            spec=SPEC, status="failed", seconds=3.0, message=f"{message}\npods of another kind", evidence="runs/r1"
        ),
    )

    assert text.splitlines() == [
        "--- FAIL: component cni: ready: ds/cni is rolled out (2.00s, 3 attempts)",
        "    specs/a.yaml:9: wait-for: 1 of 3 pods",
        "    | a",
        "    | b",
        "--- FAIL: component cni (2s)",
        "--- SKIP: t (0.00s)",
        "--- SKIP: u (0.00s)",
        "--- FAIL: specs/a.yaml",
        "    | pods of another kind",
        "    evidence: runs/r1",
        "FAIL  specs/a.yaml  3s",
    ]


def test_of_a_cluster_that_cannot_be_made_only_what_comes_to_it_is_told_again() -> None:
    message = "terraform init failed: no plugin\n  - /mirror\n  hint: name one"
    text = told(
        PhaseFinished(spec=SPEC, phase="terraform init", status="error", seconds=2.0, message=message),
        SpecFinished(spec=SPEC, status="error", seconds=3.0, message=f"{message}\nand then it isn't gone\n  hint: go"),
    )

    assert text.splitlines() == [
        "--- ERROR: terraform init (2s)",
        "    terraform init failed: no plugin",
        "    |   - /mirror",
        "    |   hint: name one",
        "--- ERROR: specs/a.yaml",
        "    | and then it isn't gone",
        "    |   hint: go",
        "ERROR  specs/a.yaml  3s",
    ]


def test_a_failed_set_up_is_told_once() -> None:
    text = told(
        TestStarted(spec=SPEC, test="setup", namespace="n", line=3),
        finished("setup", "apply x", test="setup", status="failed", message="422 Invalid"),
        TestFinished(
            spec=SPEC, test="setup", status="failed", seconds=2.0, message='"apply x" failed: 422 Invalid', line=3
        ),
        SpecFinished(spec=SPEC, status="failed", seconds=3.0, message='setup: "apply x" failed: 422 Invalid'),
    )

    assert text.splitlines() == [
        "--- FAIL: setup (2.00s)",
        "    --- FAIL: setup: apply x (2.00s, 3 attempts)",
        "        specs/a.yaml:9: wait-for: 422 Invalid",
        "FAIL  specs/a.yaml  3s",
    ]


def test_a_failed_set_up_stands_once_in_the_list_at_the_end() -> None:
    lines = told(
        *(SpecStarted(spec=spec, name="a", tests=("t",)) for spec in (SPEC, "specs/b.yaml")),
        TestStarted(spec=SPEC, test="setup", namespace="n", line=3),
        finished("setup", "apply x", test="setup", status="failed", message="422 Invalid"),
        TestFinished(
            spec=SPEC, test="setup", status="failed", seconds=2.0, message="apply x: 422 Invalid\ndetail", line=3
        ),
        SpecFinished(spec=SPEC, status="failed", seconds=3.0, message="setup: apply x: 422 Invalid\ndetail"),
        SpecFinished(spec="specs/b.yaml", status="error", seconds=3.0, message="no cluster"),
        RunFinished(status="error", passed=0, failed=0, error=0, skipped=0, seconds=1.0),
    ).splitlines()

    assert lines[lines.index("") + 1 : -1] == [
        "FAIL  specs/a.yaml:9  setup: apply x: 422 Invalid",
        "ERROR  specs/b.yaml  no cluster",
    ]


def test_a_clean_up_that_failed_is_told_beside_tests_that_passed() -> None:
    text = told(
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        finished("cleanup", "delete x", test="cleanup", status="error", message="API gone"),
        SpecFinished(
            spec=SPEC, status="passed", seconds=3.0, message="cleanup: delete x: API gone; namespace n is stuck"
        ),
    )

    assert text.splitlines() == [
        "=== RUN   specs/a.yaml",
        "--- ERROR: cleanup: delete x (2.00s, 3 attempts)",
        "    specs/a.yaml:9: wait-for: API gone",
        "    cleanup: delete x: API gone; namespace n is stuck",
        "ok  specs/a.yaml  3s",
    ]


def test_a_failure_of_the_spec_is_not_told_twice() -> None:
    spec = SpecFinished(spec=SPEC, status="error", seconds=1.0, message="no such provider: moon")

    assert told(spec).splitlines() == [
        "--- ERROR: specs/a.yaml",
        "    no such provider: moon",
        "ERROR  specs/a.yaml  1s",
    ]
    red = told(*read_events(RUNS / "red.jsonl"))
    assert red.count("supply it with") == 1


def test_says_what_it_waits_for_after_half_a_minute_of_silence() -> None:
    stream = io.StringIO()
    reporter = Plain(stream)
    for event in waiting():
        reporter.handle(event)
    before = len(stream.getvalue())

    reporter.tick(30.9)
    assert stream.getvalue()[before:] == ""
    reporter.tick(31.0)
    reporter.tick(32.0)

    assert stream.getvalue()[before:].splitlines() == [
        "... still running: specs/a.yaml: images (31s): pulling coredns",
        "... still running: specs/a.yaml: t: pod/web is Ready (28s of 1m00s): pod/web: Ready is False",
    ]


def test_thins_out_progress_unless_verbose() -> None:
    progress = [PhaseProgress(spec=SPEC, phase="images", message=f"{n} of 4", elapsed=n * 4.0) for n in range(5)]

    assert told(*progress).splitlines() == ["    images: 0 of 4", "    images: 3 of 4"]
    assert len(told(*progress, verbose=True).splitlines()) == 5
    assert told(*progress, phases=False) == ""


def test_what_was_noticed_is_always_told() -> None:
    progress = [PhaseProgress(spec=SPEC, phase="apply", message=f"{n}.0s", elapsed=n * 1.0) for n in range(3)]
    notice = PhaseProgress(spec=SPEC, phase="apply", message="a firewall", notice=True, elapsed=1.5)

    assert told(*progress[:2], notice, progress[2]).splitlines() == ["    apply: 0.0s", "    note: a firewall"]
    assert told(*progress, notice, phases=False) == "    note: a firewall\n"


def test_foreign_text_can_neither_move_the_cursor_nor_command_a_ci_system() -> None:
    hostile = "\x1b]0;owned\x07[bold]x\x1b[2J\n::error::a\n  ::add-mask::b\r::c\nd ##[group]e\x00"
    text = told(
        SpecStarted(spec="::warning::s.yaml", name="s", tests=()),
        TestStarted(spec=SPEC, test=hostile, namespace="n", line=1),
        finished("steps", hostile, test=hostile, status="failed", message=hostile, expected=hostile, detail=hostile),
        TestFinished(spec=SPEC, test=hostile, status="failed", seconds=1.0, message=hostile, line=1, evidence=hostile),
        TestFinished(
            spec=SPEC, test="skipped", status="skipped", seconds=0.0, message="::error::reason\n::error::b", line=1
        ),
        SpecFinished(spec="::warning::s.yaml", status="error", seconds=0.0, message=hostile),
    )

    assert "[bold]x" in text
    assert not [c for c in text if c != "\n" and not c.isprintable()]
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]
    assert "##[" not in text


def test_colors_only_what_has_a_verdict() -> None:
    end = RunFinished(status="passed", passed=1, failed=0, error=0, skipped=0, seconds=1.0)

    assert told(end, color=True) == "\x1b[32mPASS  1 passed in 1s\x1b[0m\n"


def finished(section: str, title: str, **changes: object) -> StepFinished:
    values: dict[str, object] = {
        "spec": SPEC,
        "test": "",
        "section": section,
        "index": 0,
        "type": "wait-for",
        "title": title,
        "line": 9,
        "status": "passed",
        "attempts": 3,
        "seconds": 2.0,
        "message": "",
    }
    return StepFinished(**values | changes)  # type: ignore[arg-type]


def waiting() -> list[AnyEvent]:
    step = {"spec": SPEC, "test": "t", "section": "steps", "index": 0}
    return [
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        PhaseStarted(spec=SPEC, phase="images"),
        PhaseProgress(spec=SPEC, phase="images", message="pulling coredns", elapsed=1.0),
        TestStarted(spec=SPEC, test="t", namespace="n", line=3, elapsed=2.0),
        StepStarted(**step, type="wait-for", title="pod/web is Ready", line=4, timeout=60.0, elapsed=3.0),
        StepAttempted(**step, attempt=1, outcome="failed", message="pod/web: Ready is False", elapsed=3.0),
    ]

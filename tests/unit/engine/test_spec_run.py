"""A spec from its set-up to its end, and a run of several, on clusters of fakes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from koalesce import engine
from koalesce.durations import Duration
from koalesce.engine import RunOptions
from koalesce.engine.attempts import Interrupt
from koalesce.engine.provision import absent, at_once
from koalesce.engine.selection import select
from koalesce.engine.session import RunSession
from koalesce.engine.spec_run import SpecResult, SpecRun
from koalesce.engine.stream import PartStream
from koalesce.errors import Interrupted, ProvisionError, UsageError
from koalesce.events import PhaseStarted, RunFinished, SpecFinished, StepFinished, TestFinished, TestStarted
from tests.unit.engine.test_case import World


class Run(World):
    """One spec in one run, its cluster being fakes."""

    def __init__(self, tmp_path: Path, tests: str, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(tmp_path, tests)
        monkeypatch.setattr("koalesce.engine.spec_run.provision", lambda *_args, **_more: self.stage)
        self.session = self.stage.session

    def all(self) -> SpecResult:
        return SpecRun(self.session, select([self.loaded], RunOptions())[0], RunOptions()).run()


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Run]:
    return lambda tests: Run(tmp_path, tests, monkeypatch)


def sections(run: Run) -> list[tuple[str, str]]:
    return [(section, title) for section, title, _ in run.steps()]


def test_the_specs_cleanup_comes_last_and_knows_the_setup(start: Callable[[str], Run]) -> None:
    run = start(
        """
setup: {steps: [{name: set up, script: echo 42, outputs: {answer: {regex: "4."}}}]}
tests: [{name: t, steps: [{name: step, sleep: 1ms}]}]
cleanup: [{name: "of ${{ setup.outputs.answer }}", script: 'test "${{ namespace }}" = "${{ setup.namespace }}"'}]
"""
    )

    assert run.all().status == "passed"
    assert sections(run) == [("setup", "set up"), ("steps", "step"), ("cleanup", "of 42")]


def test_the_specs_cleanup_runs_although_the_setup_failed(start: Callable[[str], Run]) -> None:
    run = start(
        """
setup: {steps: [{name: set up, script: exit 1}], onFailure: [{name: look, script: exit 0}]}
onFailure: [{name: look too, script: exit 0}]
tests: [{name: t, steps: [{sleep: 1ms}]}]
cleanup: [{name: tidy, script: exit 0}]
"""
    )

    result = run.all()

    assert (result.status, [test.status for test in result.tests]) == ("failed", ["skipped"])
    assert [title for _, title in sections(run)] == ["set up", "look", "look too", "tidy"]


def test_the_specs_cleanup_runs_when_it_is_interrupted(start: Callable[[str], Run]) -> None:
    run = start("tests: [{name: t, steps: [{sleep: 60s}]}]\ncleanup: [{name: tidy, script: exit 0}]\n")
    run.interrupt_in("steps")

    assert run.all().status == "error"
    assert ("cleanup", "tidy", "passed") in run.steps()


def test_a_cleanup_that_fails_makes_a_spec_that_passed_an_error(start: Callable[[str], Run]) -> None:
    run = start("tests: [{name: t, steps: [{sleep: 1ms}]}]\ncleanup: [{name: tidy, script: exit 1}]\n")

    run.all()

    (end,) = [event for event in run.events() if isinstance(event, SpecFinished)]
    assert (end.status, end.message) == ("error", "cleanup: tidy: exit code is 1, expected 0")


def test_a_spec_that_was_skipped_has_nothing_to_clean_up(start: Callable[[str], Run]) -> None:
    run = start("requires: [sctp]\ntests: [{name: t, steps: [{sleep: 1ms}]}]\ncleanup: [{script: exit 1}]\n")

    assert run.all().status == "skipped"
    assert [event for event in run.events() if isinstance(event, StepFinished)] == []


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Runs of specs whose clusters are fakes, as the engine tells of them."""

    def run(specs: list[str], **options: Any) -> list[Any]:
        paths = []
        for number, tests in enumerate(specs):
            folder = tmp_path / str(number)
            folder.mkdir()
            world = World(folder, tests)
            paths.append(str(world.loaded.path))
            stages[world.loaded.path] = world.stage
        return list(engine.run(RunOptions(paths=tuple(paths), trust=True, **options)))

    def provision(session: RunSession, loaded: Any, *_args: Any, **_more: Any) -> Any:
        return dataclasses.replace(stages[loaded.path], session=session, spec=loaded.shown, loaded=loaded)

    stages: dict[Path, Any] = {}
    monkeypatch.setattr("koalesce.engine.spec_run.provision", provision)
    monkeypatch.setattr("koalesce.engine.runner.check", lambda *_args: None)
    monkeypatch.chdir(tmp_path)
    return run


def test_a_run_counts_what_was_flaky(runs: Callable[..., list[Any]]) -> None:
    events = runs(
        [
            "tests: [{name: t, reruns: 1, steps: [{script: 'test -e x || { touch x; exit 1; }'}]}, {name: u, steps: [{sleep: 1ms}]}]"
        ]
    )

    assert (events[-1].status, events[-1].passed, events[-1].flaky) == ("passed", 2, 1)


def test_a_run_ends_when_its_time_is_over_and_tells_what_did_not_run(runs: Callable[..., list[Any]]) -> None:
    events = runs(
        ["tests: [{name: long, steps: [{sleep: 60s}]}]", "tests: [{name: later, steps: [{sleep: 1ms}]}]"],
        run_timeout=Duration.parse("300ms"),
    )

    ends = {event.test: (event.status, event.message) for event in events if isinstance(event, TestFinished)}
    assert ends["long"] == ("error", "the time of the run (300ms) is over")
    assert ends["later"] == ("skipped", "not run: the time of the run (300ms) is over")
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert (end.status, end.interrupted, end.skipped) == ("error", False, 1)


def test_each_cell_of_a_matrix_is_a_spec_of_its_own(runs: Callable[..., list[Any]]) -> None:
    events = runs(["matrix: {size: [1, 2]}\ntests: [{name: t, steps: [{script: 'test ${{ matrix.size }} -gt 0'}]}]"])

    ends = [event for event in events if isinstance(event, SpecFinished)]
    assert [(end.spec.rsplit("/", 1)[-1], end.status) for end in ends] == [
        ("spec.yaml [size=1]", "passed"),
        ("spec.yaml [size=2]", "passed"),
    ]


def session(tmp_path: Path) -> RunSession:
    return World(tmp_path, "").stage.session


def test_clusters_are_made_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(2, timeout=60)

    def make(name: str) -> Callable[[RunSession], str]:
        return lambda _session: f"{name}{together.wait() * 0}"

    assert at_once(session(tmp_path), [make("a"), make("b")]) == ["a0", "b0"]


def test_the_first_that_can_not_be_made_ends_the_others(tmp_path: Path) -> None:
    ended: list[str] = []

    def endless(inner: RunSession) -> None:
        assert inner.cancel.wait(60)
        ended.append(inner.interrupt.reason)
        raise Interrupted

    def broken(_session: RunSession) -> None:
        raise ProvisionError("no disk")

    outer = session(tmp_path)
    with pytest.raises(ProvisionError, match="no disk"):
        at_once(outer, [endless, broken])

    assert ended == ["another cluster of the spec could not be made"]
    assert not outer.cancel.is_set()


def test_an_interrupt_says_why_all_the_way_down() -> None:
    outer = Interrupt(threading.Event())
    inner = outer.child().child()

    outer.set("the time of the run (1s) is over")

    assert inner.event.wait(60)
    assert inner.reason == "the time of the run (1s) is over"


def test_what_is_told_of_one_cluster_of_several_bears_its_name(tmp_path: Path) -> None:
    world = World(tmp_path, "")

    PartStream(world.stream, "east").emit(PhaseStarted(spec="s", phase="images"))

    (event,) = world.events()
    assert isinstance(event, PhaseStarted)
    assert event.phase == "images [east]"


def ends_of(events: list[Any]) -> dict[str, tuple[str, str]]:
    return {event.test: (event.status, event.message) for event in events if isinstance(event, TestFinished)}


def test_nothing_begins_after_the_first_failure_where_that_is_asked_for(runs: Callable[..., list[Any]]) -> None:
    events = runs(
        [
            "tests: [{name: bad, steps: [{script: exit 1}]}, {name: next, serial: true, steps: [{sleep: 1ms}]}]",
            "tests: [{name: later, steps: [{sleep: 1ms}]}]",
        ],
        failfast=True,
    )

    ends = ends_of(events)
    assert [status for status, _ in ends.values()] == ["failed", "skipped", "skipped"]
    assert ends["next"][1] == ends["later"][1] == "not run: an earlier test did not pass (--failfast)"
    assert (events[-1].status, events[-1].failed, events[-1].skipped) == ("failed", 1, 2)


def test_a_short_run_makes_no_cluster_for_tests_that_it_skips(
    runs: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_more: Any) -> Any:
        raise AssertionError("a cluster was made")

    specs = ["tests: [{name: t, disruptive: true, steps: [{sleep: 1ms}]}]"]
    monkeypatch.setattr("koalesce.engine.spec_run.note_first_states", refuse)
    monkeypatch.setattr("koalesce.engine.spec_run.SpecRun._make", refuse)

    events = runs(specs, short=True)

    assert ends_of(events) == {"t": ("skipped", "--short: it is disruptive")}
    assert events[-1].status == "skipped"


SKIPPING = """
matrix: {backend: [a, b]}
setup: {steps: [{script: exit 1}]}
tests:
  - {name: t, if: {value: "${{ matrix.backend }}", equals: b}, steps: [{sleep: 1ms}]}
  - {name: u, skip: not yet, steps: [{sleep: 1ms}]}
"""


def test_a_cell_whose_tests_are_all_skipped_makes_no_cluster(runs: Callable[..., list[Any]]) -> None:
    events = runs([SKIPPING.replace("exit 1", "exit 0")])

    phases = [event.spec.rsplit("/", 1)[-1] for event in events if isinstance(event, StepFinished)]
    assert set(phases) == {"spec.yaml [backend=b]"}
    ends = {
        (event.spec.rsplit("=", 1)[-1], event.test): event.status for event in events if isinstance(event, TestFinished)
    }
    assert ends == {
        ("a]", "t"): "skipped",
        ("a]", "u"): "skipped",
        ("b]", "setup"): "passed",
        ("b]", "t"): "passed",
        ("b]", "u"): "skipped",
    }
    specs = [(event.status, event.message) for event in events if isinstance(event, SpecFinished)]
    assert specs == [("skipped", "no cluster was made: every test is skipped"), ("passed", "")]
    assert (events[-1].status, events[-1].passed, events[-1].skipped) == ("passed", 1, 3)


def test_its_tests_are_told_as_those_are_that_are_skipped_on_a_cluster(runs: Callable[..., list[Any]]) -> None:
    def told(spec: str) -> list[tuple[Any, ...]]:
        ends = [
            each for each in events if isinstance(each, TestStarted | TestFinished) and each.spec == f"{spec}/spec.yaml"
        ]
        return [(type(each), each.test, each.line, getattr(each, "message", None)) for each in ends]

    skipped = "{name: t, if: {value: 1, equals: 2}, steps: [{sleep: 1ms}]}"
    events = runs([f"tests: [{skipped}]", f"tests: [{skipped}, {{name: other, steps: [{{sleep: 1ms}}]}}]"])

    assert len(told("0")) == 2
    assert told("0") == [each for each in told("1") if each[1] == "t"]


def test_what_is_skipped_beforehand_says_so_although_the_setup_failed(runs: Callable[..., list[Any]]) -> None:
    events = runs([SKIPPING], matrix={"backend": ("b",)})

    assert ends_of(events)["t"][1] == "not run: the spec's setup did not pass"
    assert ends_of(events)["u"][1] == "not yet"


def test_each_test_runs_as_often_as_is_asked_for_with_its_own_values(runs: Callable[..., list[Any]]) -> None:
    events = runs(["tests: [{name: t, matrix: {n: [1, 2]}, steps: [{script: 'test ${{ matrix.n }} -eq 1'}]}]"], count=2)

    assert {name: status for name, (status, _) in ends_of(events).items()} == {
        "t [n=1] [run=1]": "passed",
        "t [n=1] [run=2]": "passed",
        "t [n=2] [run=1]": "failed",
        "t [n=2] [run=2]": "failed",
    }


def test_each_spec_runs_on_each_version(runs: Callable[..., list[Any]]) -> None:
    events = runs(["tests: [{name: t, steps: [{sleep: 1ms}]}]"], versions=("1.37", "1.34"))

    ends = [event for event in events if isinstance(event, SpecFinished)]
    assert [(end.spec.rsplit("/", 1)[-1], end.status) for end in ends] == [
        ("spec.yaml [kubernetes=1.37]", "passed"),
        ("spec.yaml [kubernetes=1.34]", "passed"),
    ]


@pytest.mark.parametrize(("script", "kept"), [("exit 1", True), ("exit 0", False)])
def test_the_cluster_of_a_spec_that_fails_is_kept_where_that_is_asked_for(
    runs: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch, script: str, kept: bool
) -> None:
    asked: list[bool] = []

    def end(*_args: Any, keep: bool) -> bool:
        asked.append(keep)
        return True

    monkeypatch.setattr("koalesce.engine.spec_run.end_all", end)

    runs([f"tests: [{{name: t, steps: [{{script: {script}}}]}}]"], keep_on_failure=True)

    assert asked == [kept]


def test_values_of_axes_come_from_the_command_line(runs: Callable[..., list[Any]]) -> None:
    events = runs(
        [
            "matrix: {size: [1, 2], exclude: [{size: 2}]}\n"
            "tests: [{name: t, matrix: {shape: [{name: big, n: 7}, {name: small, n: 8}]}, "
            "steps: [{script: 'test ${{ matrix.size }}${{ matrix.shape.n }} = 37'}]}]"
        ],
        matrix={"size": ("3",), "shape": ("big",)},
    )

    assert ends_of(events) == {"t [shape=big]": ("passed", "")}


def test_an_axis_that_no_spec_has_is_refused(runs: Callable[..., list[Any]]) -> None:
    with pytest.raises(UsageError, match='no spec of this run has an axis "sze"') as refused:
        runs(["matrix: {size: [1]}\ntests: [{name: t, steps: [{sleep: 1ms}]}]"], matrix={"sze": ("1",)})

    assert refused.value.hint == 'did you mean "size"?'


REQUIRING = "requires: [ipip, ipvs]\ntests: [{name: t, steps: [{sleep: 1ms}]}]"


class Provider:
    """One that knows which capabilities its clusters won't have."""

    def __init__(self, *lacks: str) -> None:
        self._lacks = lacks

    def absent(self, names: Collection[str]) -> frozenset[str]:
        return frozenset(names) & frozenset(self._lacks)


def test_no_cluster_is_made_that_would_lack_what_the_spec_requires(
    runs: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_more: Any) -> Any:
        raise AssertionError("a cluster was made")

    monkeypatch.setattr("koalesce.engine.spec_run.SpecRun._make", refuse)
    monkeypatch.setitem(absent.__globals__, "provider", lambda _name: Provider("ipvs", "netem"))

    events = runs([REQUIRING])

    reason = "no cluster was made: it would lack ipvs"
    assert [(event.status, event.message) for event in events if isinstance(event, SpecFinished)] == [
        ("skipped", reason)
    ]
    assert ends_of(events) == {"t": ("skipped", f"not run: {reason}")}


def test_what_is_there_is_asked_and_no_guess_is_made(
    start: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(REQUIRING)
    options = RunOptions()
    monkeypatch.setitem(absent.__globals__, "provider", lambda _name: Provider("ipvs"))

    assert absent(run.loaded, options) == ["ipvs"]
    assert absent(run.loaded, dataclasses.replace(options, cluster="c1")) == []
    monkeypatch.setitem(absent.__globals__, "provider", lambda _name: object())
    assert absent(run.loaded, options) == []

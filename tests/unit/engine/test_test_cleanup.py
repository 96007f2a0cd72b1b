"""What always runs at the end of a test, and what runs when it fails."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from koalesce.engine.attempts import Interrupt
from koalesce.engine.grace import grace
from tests.unit.engine.test_case import World


def test_each_cleanup_step_runs_whatever_became_of_the_one_before(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        "tests: [{name: t, steps: [{sleep: 1ms}], cleanup: [{name: bad, script: exit 1}, {name: good, script: exit 0}]}]",
    )

    finished = world.run()

    assert world.steps()[1:] == [("cleanup", "bad", "failed"), ("cleanup", "good", "passed")]
    assert (finished.status, finished.message) == ("error", "clean-up: bad: exit code is 1, expected 0")


def test_cleanup_has_time_although_the_tests_is_over(tmp_path: Path) -> None:
    world = World(
        tmp_path, "tests: [{name: t, timeout: 20ms, steps: [{sleep: 30ms}], cleanup: [{sleep: 40ms, name: after}]}]"
    )

    world.run()

    assert ("cleanup", "after", "passed") in world.steps()


def test_cleanup_runs_when_the_run_is_interrupted_but_nothing_is_undone_that_goes_anyway(tmp_path: Path) -> None:
    world = World(
        tmp_path, "tests: [{name: t, steps: [{sleep: 60s}], cleanup: [{name: after, script: touch cleaned-up}]}]"
    )
    world.interrupt_in("steps")

    finished = world.run()

    assert (finished.status, finished.message) == ("error", "interrupted")
    assert ("cleanup", "after", "passed") in world.steps()
    assert (tmp_path / "cleaned-up").exists()
    assert world.verbs("delete") == []


def test_cleanup_after_an_interrupt_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.case.grace", lambda interrupt: grace(interrupt, 0.1))
    world = World(tmp_path, "tests: [{name: t, steps: [{sleep: 60s}], cleanup: [{sleep: 60s}, {sleep: 61s}]}]")
    world.interrupt_in("steps")

    finished = world.run()

    assert finished.status == "error"
    assert finished.message == (
        "interrupted\nclean-up: cut off, its time after the interruption (0.1s) is over: sleep 1m00s, sleep 1m01s"
    )
    assert [section for section, _, _ in world.steps()] == []


def test_an_interrupt_in_the_middle_of_cleanup_leaves_it_a_moment(tmp_path: Path) -> None:
    world = World(
        tmp_path, "tests: [{name: t, steps: [{sleep: 1ms}], cleanup: [{sleep: 300ms}, {name: after, sleep: 1ms}]}]"
    )
    world.interrupt_in("cleanup")

    finished = world.run()

    assert finished.status == "passed"
    assert world.steps()[-1] == ("cleanup", "after", "passed")


def test_the_time_of_grace_begins_with_the_interrupt() -> None:
    interrupt = Interrupt(threading.Event())

    with grace(interrupt, 0.05) as own:
        assert not own.event.wait(0.15)
        interrupt.set("interrupted")
        assert own.event.wait(60)
        assert own.reason == "its time after the interruption (0.05s) is over"


def test_what_runs_on_failure_is_the_tests_own_and_then_the_specs(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        """
onFailure: [{name: of the spec, script: exit 0}]
tests:
  - name: bad
    steps: [{script: exit 1}]
    onFailure: [{name: of the test, script: exit 0}]
  - name: good
    steps: [{script: exit 0}]
""",
    )

    world.run(0)
    world.run(1)

    assert [title for section, title, _ in world.steps() if section == "onFailure"] == ["of the test", "of the spec"]

"""Tests that are run again, fail in several places, or run out of time; and how that is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from koalesce.events import TestFinished, TestRerun, TestStarted
from tests.fakes import api_error
from tests.unit.engine.test_case import World

# Fails as long as the file isn't there, and makes it.
FLAKY = """
tests:
  - name: t
    reruns: 2
    steps:
      - script: "test -e tried || { touch tried; exit 1; }"
"""
RED = "tests: [{name: t, reruns: 2, steps: [{script: exit 1}]}]"


def test_one_that_passes_when_run_again_has_passed_and_is_flaky(tmp_path: Path) -> None:
    world = World(tmp_path, FLAKY)

    finished = world.run()

    events = world.events()
    (rerun,) = [event for event in events if isinstance(event, TestRerun)]
    starts = [event for event in events if isinstance(event, TestStarted)]
    assert (finished.status, finished.flaky, finished.rerun, finished.reruns) == ("passed", True, 1, 2)
    assert (rerun.rerun, rerun.reruns, rerun.message) == (1, 2, finished_message(rerun))
    assert [start.rerun for start in starts] == [0, 1]
    assert starts[0].namespace != starts[1].namespace
    assert len([event for event in events if isinstance(event, TestFinished)]) == 1
    assert finished.seconds >= rerun.seconds


def finished_message(rerun: TestRerun) -> str:
    assert "exit code is 1" in rerun.message
    return rerun.message


def test_each_try_has_a_fresh_namespace_which_goes_with_it(tmp_path: Path) -> None:
    world = World(tmp_path, FLAKY)

    world.run()

    made = [what["object"]["metadata"]["name"] for what in world.verbs("create")]
    assert [gone["name"] for gone in world.verbs("delete")] == made
    assert len(set(made)) == 2


def test_one_that_always_fails_has_failed(tmp_path: Path) -> None:
    world = World(tmp_path, RED)

    finished = world.run()

    assert (finished.status, finished.flaky, finished.rerun, finished.reruns) == ("failed", False, 2, 2)
    assert len([event for event in world.events() if isinstance(event, TestRerun)]) == 2


def test_what_could_not_be_found_out_is_not_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, reruns: 2, steps: [{wait-for: {resource: pod/web, exists: true}}]}]")
    world.fake.kube.fail("get", *[api_error(403, "pods is forbidden", reason="Forbidden")] * 50)

    finished = world.run()

    assert (finished.status, finished.rerun) == ("error", 0)


def test_the_command_line_says_it_for_tests_that_do_not(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        "tests: [{name: a, steps: [{script: exit 1}]}, {name: b, reruns: 0, steps: [{script: exit 1}]}]",
    )
    world.stage = replace(world.stage, reruns=1)

    assert [world.run(0).rerun, world.run(1).rerun] == [1, 0]


def test_no_rerun_begins_once_the_run_is_to_end(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, reruns: 2, steps: [{sleep: 1ms}, {script: exit 1}]}]")
    world.interrupt.event.set()

    assert world.run().rerun == 0


def test_all_steps_that_failed_softly_are_told(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        """
tests:
  - name: t
    steps:
      - {name: one, script: exit 1, continueOnFailure: true}
      - {name: two, script: exit 2, continueOnFailure: true}
      - {name: three, script: exit 3}
      - {name: four, script: exit 4}
""",
    )

    finished = world.run()

    first, *others = finished.message.splitlines()
    assert first == "one: exit code is 1, expected 0 (and 2 more problems)"
    assert others == ["two: exit code is 2, expected 0", "three: exit code is 3, expected 0"]
    assert finished.status == "failed"


def test_a_test_ends_when_its_time_is_over(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, timeout: 50ms, steps: [{sleep: 60ms}, {name: late, sleep: 1ms}]}]")

    finished = world.run()

    assert finished.status == "failed"
    assert finished.message.endswith("ms of 60ms could pass, then its time was over; the test's time (50ms) is over")
    assert [title for _, title, _ in world.steps()] == ["sleep 60ms"]


def test_a_step_that_runs_into_the_tests_end_says_so(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        "tests: [{name: t, timeout: 50ms, steps: [{wait-for: {resource: pod/web, exists: true}, timeout: 10s}]}]",
    )

    finished = world.run()

    assert finished.message.endswith("pod/web does not exist; the test's time (50ms) is over")

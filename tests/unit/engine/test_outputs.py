"""Outputs: who may use them, and what becomes of steps that take one which was never made."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from koalesce.engine.case import run_setup, run_test
from koalesce.events import StepFinished
from tests.unit.engine.test_case import World

MAKES = "{script: 'echo made', outputs: {word: {jsonpath: '{.stdout}'}}}"


def section(name: str, *steps: str) -> str:
    return f"  {name}:\n" + "".join(f"  - {step}\n" for step in steps)


def test_outputs_reach_clean_up_and_on_failure_also_when_a_later_step_fails(tmp_path: Path) -> None:
    uses = "script: {run: 'echo ${{ outputs.word }}', stdout: made}"
    text = section("steps", MAKES, "script: exit 1") + section("onFailure", uses) + section("cleanup", uses)
    world = World(tmp_path, "tests:\n- name: t\n" + text)

    assert world.run().status == "failed"
    assert [(where, status) for where, _, status in world.steps()] == [
        ("steps", "passed"), ("steps", "failed"), ("onFailure", "passed"), ("cleanup", "passed"),
    ]  # fmt: skip


def test_afterwards_what_takes_an_output_that_was_never_made_is_left_out(tmp_path: Path) -> None:
    uses = "script: 'echo ${{ outputs.word }}'"
    text = section("steps", "script: exit 1", MAKES) + section("onFailure", uses) + section("cleanup", uses)
    world = World(tmp_path, "tests:\n- name: t\n" + text)

    finished = world.run()

    assert finished.message.startswith("script exit 1: ")
    skipped = [event for event in world.events() if isinstance(event, StepFinished) and event.status == "skipped"]
    assert [(event.section, event.message) for event in skipped] == [
        ("onFailure", 'no step came to make the output "word"'), ("cleanup", 'no step came to make the output "word"'),
    ]  # fmt: skip


def test_a_step_that_takes_an_output_of_one_that_was_left_out_is_an_error(tmp_path: Path) -> None:
    left_out = "{script: 'echo made', requires: [sctp], outputs: {word: {jsonpath: '{.stdout}'}}}"
    text = section("steps", left_out, "script: 'echo ${{ outputs.word }}'")
    world = World(tmp_path, "tests:\n- name: t\n" + text)

    finished = world.run()

    assert finished.status == "error"
    assert "outputs.word: outputs has no 'word'" in finished.message


def test_outputs_of_the_setup_are_there_for_all_tests(tmp_path: Path) -> None:
    text = "setup:\n" + section("steps", MAKES) + "tests:\n- name: t\n"
    world = World(tmp_path, text + section("steps", "script: {run: 'echo ${{ setup.outputs.word }}', stdout: made}"))

    done = run_setup(world.stage, world.loaded.spec.setup)

    assert done.finished.status == "passed"
    assert done.given["outputs"] == {"word": "made"}
    stage = dataclasses.replace(world.stage, values={**world.stage.values, "setup": done.given})
    assert run_test(stage, world.loaded.spec.tests[0], line=1).status == "passed"

"""What a program gets to know of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from koalesce.cli import exit_codes
from koalesce.events import RunFinished
from koalesce.library.results import RunResult, StepResult, result_of
from koalesce.reporters.jsonl import read_events

RUNS = Path(__file__).parents[2] / "data" / "runs"


def recorded(name: str) -> RunResult:
    return result_of(read_events(RUNS / f"{name}.jsonl"))


def test_a_green_run_tells_its_tests_and_their_steps() -> None:
    result = recorded("green")

    (spec,) = result.specs
    assert (result.ok, result.status, result.problems, result.left) == (True, "passed", (), ())
    assert [(test.name, test.status) for test in spec.tests if test.status != "skipped"]
    first = next(test for test in spec.tests if test.status == "passed")
    assert result.spec(spec.spec).test(first.name) is first
    assert {step.status for step in first.steps} == {"passed"}
    assert all(isinstance(step, StepResult) and step.title for step in first.steps)
    assert [cluster.nodes for cluster in spec.clusters] != [()]


def test_a_red_run_explains_what_went_wrong() -> None:
    result = recorded("red")

    failed = [test for test in result.tests if test.status == "failed"]
    assert not result.ok
    assert failed
    for test in failed:
        step = next(step for step in test.steps if step.status == "failed")
        assert test.line == step.line
        assert step.message.split("\n")[0] in test.explanation
        assert test.explanation in result.explanation
    assert result.teardown_failed
    assert all(command in result.explanation for command in result.left)


def test_evidence_is_an_absolute_path() -> None:
    found = [test.evidence for test in recorded("red").tests if test.evidence]

    assert found
    assert all(path.is_absolute() for path in found)


def test_an_interrupted_run_is_no_good_one() -> None:
    result = recorded("interrupted")

    assert (result.interrupted, result.ok) == (True, False)
    assert "interrupted" in result.explanation


def test_a_run_that_was_cut_off_is_an_error() -> None:
    events = list(read_events(RUNS / "green.jsonl"))[:-3]

    result = result_of(events)

    assert (result.status, result.ok) == ("error", False)


def test_without_any_event_nothing_is_well() -> None:
    assert not result_of([]).ok


@pytest.mark.parametrize("name", ["green", "red", "interrupted", "kept"])
def test_it_is_well_exactly_where_the_command_ends_with_0(name: str) -> None:
    end = next(event for event in read_events(RUNS / f"{name}.jsonl") if isinstance(event, RunFinished))

    assert recorded(name).ok == (exit_codes.of_run(end) == exit_codes.PASSED)


@pytest.mark.parametrize(
    "change", [{"status": "failed"}, {"status": "error"}, {"interrupted": True}, {"teardown_failed": True}]
)
def test_nothing_that_went_wrong_outside_of_tests_is_well(change: dict[str, object]) -> None:
    assert not dataclasses.replace(recorded("green"), **change).ok  # type: ignore[arg-type]


def test_a_run_without_a_test_that_ran_is_not_well() -> None:
    green = recorded("green")
    specs = tuple(
        dataclasses.replace(
            spec, tests=tuple(dataclasses.replace(test, status="skipped", message="no ipvs") for test in spec.tests)
        )
        for spec in green.specs
    )

    result = dataclasses.replace(green, specs=specs)

    assert not result.ok
    assert "no test ran" in result.explanation
    assert "no ipvs" in result.explanation

"""What must hold after every test: whose failure it is, and when it isn't looked at."""

from __future__ import annotations

from pathlib import Path

from koalesce.events import StepFinished
from tests.unit.engine.test_case import World

INVARIANT = "invariants:\n- {name: nothing left, script: 'test ! -e LEFT'}\n- script: 'echo looked >> LOOKED'\n"


def test_a_test_that_breaks_an_invariant_has_failed(tmp_path: Path) -> None:
    world = World(
        tmp_path, INVARIANT + "tests: [{name: t, steps: [{script: touch LEFT}], onFailure: [script: touch TOLD]}]"
    )

    finished = world.run()

    assert finished.status == "failed"
    assert finished.message.startswith("after it, nothing left: ")
    assert finished.evidence
    assert (tmp_path / "TOLD").exists()
    sections = [
        (event.section, event.title, event.status) for event in world.events() if isinstance(event, StepFinished)
    ]
    assert sections[1:3] == [
        ("invariants", "nothing left", "failed"),
        ("invariants", "script echo looked >> LOOKED", "passed"),
    ]


def test_all_is_well_while_they_hold(tmp_path: Path) -> None:
    world = World(tmp_path, INVARIANT + "tests: [{name: t, steps: [{script: 'true'}]}]")

    finished = world.run()

    assert (finished.status, finished.message) == ("passed", "")
    assert (tmp_path / "LOOKED").read_text() == "looked\n"


def test_a_test_that_failed_already_says_both(tmp_path: Path) -> None:
    world = World(tmp_path, INVARIANT + "tests: [{name: t, steps: [{name: mine, script: 'touch LEFT; exit 3'}]}]")

    finished = world.run()

    first, second = [line for line in finished.message.splitlines() if "exit code is" in line]
    assert first.startswith("mine: ")
    assert second.startswith("after it, nothing left: ")


def test_they_are_not_looked_at_after_what_did_not_run_or_goes_without(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        INVARIANT + "tests:\n- {name: without, invariants: false, steps: [{script: touch LEFT}]}\n"
        "- {name: skipped, steps: [{script: 'true', if: {capability: netem}}]}\n",
    )

    assert [world.run(0).status, world.run(1).status] == ["passed", "skipped"]
    assert not (tmp_path / "LOOKED").exists()

"""Bad days: machines that vanish, programs that die, what can't be done. Each is an error that names its cause, and the machine is as before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import whole_machine
from tests.specs.shared import Machine, Ran, loaded, run, said, shown

SPEC = Path(__file__).parent / "_bad-days.yaml"
LEFT_BY_EVERY_RUN = "file "  # what people may want to read afterwards, and locks

pytestmark = [pytest.mark.spec, *whole_machine.LOCAL_CLUSTERS]


def _tests() -> list[tuple[str, str]]:
    """Each test with what it must say; a spec that isn't valid has one, which says that."""
    specs = loaded(SPEC)
    return [("", specs)] if isinstance(specs, str) else [(each.name, each.description) for each in specs[0].spec.tests]


TESTS = _tests()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> whole_machine.Machine:
    """The machine before the run."""
    return whole_machine.Machine(tmp_path_factory.mktemp("bad-days"), "bad-days")


@pytest.fixture(scope="module")
def ran(before: whole_machine.Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """One run of all of them, on a cluster of its own."""
    machine = Machine(state=before.folder)
    yield run(machine, tmp_path_factory.mktemp("run"), [SPEC])
    machine.koalesce("down", "--all")


@pytest.mark.parametrize(("test", "wanted"), TESTS, ids=[test or "the spec" for test, _ in TESTS])
def test_it_is_an_error_that_names_its_cause(ran: Ran, test: str, wanted: str) -> None:
    assert test, wanted
    assert wanted, "its description must be a part of what its error says"
    ends = [end for end in ran.tests(shown(SPEC)) if end.test == test]
    assert ends, f"it did not run:\n{ran.text}"

    told = "\n".join([*(end.message for end in ends), *map(said, ran.steps(shown(SPEC), test))])
    assert [end.status for end in ends] == ["error"], told
    assert wanted in told, told


def test_the_run_is_an_error_and_the_machine_as_before(ran: Ran, before: whole_machine.Machine) -> None:
    assert ran.code == 3, ran.text  # 4 where something could not be undone
    deadline = time.monotonic() + 60  # clusters of tests beside come and go
    while (left := _left(before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def _left(before: whole_machine.Machine) -> list[str]:
    return [line for line in before.left() if not line.startswith(LEFT_BY_EVERY_RUN)]

"""One cluster for all tests that only need any."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.specs.shared import ROOT, Machine

_GIVEN = os.environ.get("KOALESCE_TEST_CLUSTER", "")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A place of our own for clusters; that of this user, where one of theirs is to be used."""
    return Machine(state=None if _GIVEN else tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def cluster(machine: Machine) -> Iterator[str]:
    """The name of a cluster of three nodes, which `koalesce up` makes; KOALESCE_TEST_CLUSTER names one that is up instead."""
    if _GIVEN:
        yield _GIVEN
        return
    name = "examples"
    made = machine.koalesce("up", str(ROOT / "tests" / "specs" / "_cluster.yaml"), "--name", name)
    assert made.returncode == 0, made.stdout
    yield name
    gone = machine.koalesce("down", name)
    assert gone.returncode == 0, gone.stdout

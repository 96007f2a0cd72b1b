"""The examples of the reference, which must be green, and the specs whose every test must fail and say why, on one cluster."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.specs.shared import ROOT, Machine, Ran, below, loaded, run, said, shown, valid

EXAMPLES = below(ROOT / "docs" / "examples")
FAILING = below(ROOT / "tests" / "data" / "failing")

pytestmark = pytest.mark.spec


@functools.cache
def cluster_of(path: Path) -> str:
    """The cluster that a spec asks for by the label `cluster`: one of its `own`, or that of a spec of this name (test_netpol.py runs these)."""
    specs = loaded(path)
    return "" if isinstance(specs, str) else str(specs[0].spec.metadata.labels.get("cluster", ""))


OWN = [path for path in EXAMPLES if cluster_of(path) == "own"]
SHARED = [path for path in EXAMPLES if not cluster_of(path)]


@pytest.fixture(scope="module")
def examples(machine: Machine, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run of all examples that share a cluster."""
    flags = ("--cluster", cluster, "--parallel", "8", "-p", "3")
    return run(machine, tmp_path_factory.mktemp("examples"), list(valid(SHARED)), *flags)


@pytest.fixture(scope="module")
def failures(machine: Machine, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run of all specs that must fail."""
    flags = ("--cluster", cluster, "--parallel", "16", "-p", "3")
    return run(machine, tmp_path_factory.mktemp("failing"), list(valid(FAILING)), *flags)


def check_green(ran: Ran, path: Path) -> None:
    """A spec has run, and each of its tests has passed."""
    end = ran.spec(shown(path))
    assert end is not None, f"it did not run:\n{ran.text}"
    assert end.status == "passed", ran.told(shown(path))
    assert {test.status for test in ran.tests(shown(path))} == {"passed"}, ran.told(shown(path))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid(path: Path) -> None:
    assert not isinstance(specs := loaded(path), str), specs


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_an_example_is_green(path: Path, examples: Ran) -> None:
    check_green(examples, path)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_an_example_with_a_cluster_of_its_own_is_green(path: Path, machine: Machine, tmp_path: Path) -> None:
    check_green(run(machine, tmp_path, [path]), path)


def _failing_tests() -> list[tuple[Path, str, str]]:
    """Path, test and what it must say; for an invalid spec its problem stands for its tests."""
    found: list[tuple[Path, str, str]] = []
    for path in FAILING:
        specs = loaded(path)
        if isinstance(specs, str):
            found.append((path, "", specs))
        else:
            found += [(path, test.name, test.description) for spec in specs for test in spec.spec.tests]
    return found


FAILING_TESTS = _failing_tests()


@pytest.mark.parametrize(
    ("path", "test", "wanted"), FAILING_TESTS, ids=[f"{path.stem}: {test}" for path, test, _ in FAILING_TESTS]
)
def test_it_fails_and_says_why(path: Path, test: str, wanted: str, failures: Ran) -> None:
    assert test, wanted
    assert wanted, "its description must be a part of what its failure says"
    ends = [end for end in failures.tests(shown(path)) if end.test == test]
    assert ends, f"it did not run:\n{failures.told(shown(path))}"

    told = "\n".join([*(end.message for end in ends), *map(said, failures.steps(shown(path), test))])
    assert [end.status for end in ends] == ["failed"] * len(ends), told
    assert wanted in told, told

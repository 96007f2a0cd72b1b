"""How the tests of this repository are given to several workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.scheduling import Lanes, group

UNIT = [f"tests/unit/test_{name}.py::test_{number}" for name in "abc" for number in range(4)]
MACHINE = ["tests/cluster/test_a.py::test_1", "tests/cluster/test_b.py::test_1", "tests/cluster/test_b.py::test_2"]
SHARED = ["tests/specs/test_examples.py::test_an_example_is_green[curl]", "tests/specs/test_python.py::test_x"]
OWN = [
    f"tests/specs/test_examples.py::test_an_example_with_a_cluster_of_its_own_is_green[{x}]" for x in ("ipv6", "chaos")
]
SPECS = [f"tests/specs/test_specs.py::test_{what}[{name}]" for name in ("flannel", "etcd") for what in ("green", "red")]
CLUSTERS = [*OWN, *SPECS, *SHARED, *MACHINE]


class Worker:
    """One that runs what it's given, in order; as with xdist, a test only once the next one is known, or that there is none."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[int] = []
        self.ran = 0
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def may_run(self) -> bool:
        return len(self.given) - self.ran > (0 if self.shutting_down else 1)


def ran(tests: list[str], workers: int) -> list[list[str]]:
    """What each worker has run when everything is done; each runs a test in turn."""
    config: Any = SimpleNamespace(
        getvalue=lambda name: [f"{workers}*popen"], option=SimpleNamespace(loadscopereorder=True)
    )
    lanes = Lanes(config, None)
    nodes: list[Any] = [Worker(f"gw{number}") for number in range(workers)]
    for node in nodes:
        lanes.add_node(node)
        lanes.add_node_collection(node, tests)
    lanes.schedule()
    while busy := [node for node in nodes if node.may_run]:
        for node in busy:
            node.ran += 1
            lanes.mark_test_complete(node, node.given[node.ran - 1])
    assert all(node.shutting_down and node.ran == len(node.given) for node in nodes)
    return [[tests[index] for index in node.given] for node in nodes]


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_every_test_is_run_once_and_those_of_a_group_by_one_worker(workers: int) -> None:
    tests = [*UNIT, *CLUSTERS]

    found = ran(tests, workers)

    assert sorted(test for each in found for test in each) == sorted(tests)
    groups = [{group(test) for test in each} for each in found]
    assert len(set().union(*groups)) == sum(map(len, groups))


@pytest.mark.parametrize(("workers", "makers"), [(1, 1), (2, 1), (3, 2), (8, 2)])
def test_so_many_workers_make_clusters_and_the_others_run_the_other_tests(workers: int, makers: int) -> None:
    found = ran([*UNIT, *CLUSTERS], workers)

    assert sum(any(test in CLUSTERS for test in each) for each in found) == makers
    assert all(test in UNIT for each in found[makers:] for test in each)


def test_who_makes_clusters_begins_with_those_that_take_long_and_goes_on_with_other_tests() -> None:
    (everything,) = ran([*UNIT, *CLUSTERS], 1)

    order = list(dict.fromkeys(map(group, everything)))
    assert order[:4] == [group(MACHINE[0]), group(SPECS[0]), group(SHARED[0]), group(OWN[1])]
    assert order[-3:] == [f"tests/unit/test_{name}.py" for name in "abc"]


def test_without_other_tests_a_worker_is_left_out() -> None:
    found = ran(CLUSTERS, 3)

    assert [bool(each) for each in found] == [True, True, False]


def test_tests_that_share_a_cluster_are_a_group() -> None:
    assert len(set(map(group, MACHINE))) == 1
    assert len(set(map(group, SHARED))) == 1
    assert [group(test) for test in SPECS] == [
        f"tests/specs/test_specs.py[{x}]" for x in ("flannel",) * 2 + ("etcd",) * 2
    ]
    assert [group(test) for test in OWN] == OWN

"""What needs a network that enforces NetworkPolicies, on one cluster: the spec, its negative twins, and the example."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from koalesce.events import StepFinished
from tests.long import LONG
from tests.specs.shared import ROOT, Machine, Ran, run, said, shown
from tests.specs.test_examples import EXAMPLES, check_green, cluster_of

SPEC = ROOT / "specs" / "kube-router-netpol.yaml"
EXAMPLE = ROOT / "docs" / "examples" / "network-policy.yaml"
QUICK = ("policies and labels come, change and go, and take effect in time", "of each kind of policy one")
LONG_TESTS = ("the cases of Kubernetes' own tests", "policies made by chance")

pytestmark = pytest.mark.spec


@pytest.fixture(scope="module")
def netpol(machine: Machine) -> Iterator[str]:
    """The name of a cluster with kube-router."""
    name = f"netpol-{os.getpid()}"
    made = machine.koalesce("up", str(SPEC), "--name", name)
    assert made.returncode == 0, made.stdout
    yield name
    gone = machine.koalesce("down", name)
    assert gone.returncode == 0, gone.stdout


def on_cluster(machine: Machine, folder: Path, path: Path, cluster: str, *tests: str) -> Ran:
    """Run tests of a spec on the cluster."""
    only = ["--run", f"^({'|'.join(map(re.escape, tests))})$"] if tests else []
    return run(machine, folder, [path], "--cluster", cluster, *only)


def check_tests(ran: Ran, path: Path, tests: tuple[str, ...]) -> None:
    """These tests have run, and have passed."""
    ends = {end.test: end.status for end in ran.tests(shown(path)) if end.status != "skipped"}
    assert ends == dict.fromkeys(tests, "passed"), ran.told(shown(path))


def test_the_spec_is_green(machine: Machine, netpol: str, tmp_path: Path) -> None:
    ran = on_cluster(machine, tmp_path, SPEC, netpol, *QUICK)

    check_tests(ran, SPEC, QUICK)
    measured = [step.message for step in steps(ran, SPEC)]
    assert all("in effect after" in message for message in measured), measured


@pytest.mark.parametrize("tests", [pytest.param(LONG_TESTS, marks=LONG, id="all")])
def test_all_cases_are_green(machine: Machine, netpol: str, tmp_path: Path, tests: tuple[str, ...]) -> None:
    check_tests(on_cluster(machine, tmp_path, SPEC, netpol, *tests), SPEC, tests)


def test_every_example_for_this_cluster_is_green(machine: Machine, netpol: str, tmp_path: Path) -> None:
    assert [path for path in EXAMPLES if cluster_of(path) == SPEC.stem] == [EXAMPLE]

    check_green(on_cluster(machine, tmp_path, EXAMPLE, netpol), EXAMPLE)


def steps(ran: Ran, path: Path) -> list[StepFinished]:
    """How the steps about policies ended."""
    return [step for step in ran.steps(shown(path)) if step.type == "network-policy"]


@dataclass(frozen=True)
class Twin:
    """An expectation made wrong, and what must be said of it."""

    right: str
    wrong: str
    said: str


TWINS = [
    Twin(
        right="expect: {default: allowed, cells: [{to: \"x/*\", expect: blocked}]}",
        wrong="expect: {default: allowed, cells: [{to: \"x/b\", expect: blocked}]}",
        said=r"apply x/deny-ingress: 3 of 20 pairs differ: x/b .* → x/a:80 .*: rejected .*, expected allowed",
    ),
    Twin(
        right="{from: x/b, to: x/a, expect: allowed}, {to",
        wrong="{from: \"*/b\", to: x/a, expect: allowed}, {to",
        said=r"apply x/friends-only: 1 of 20 pairs differ: y/b .* → x/a:80 .*: rejected .*, expected allowed",
    ),
    Twin(
        right="        blocked: rejected # kube-router doesn't drop",
        wrong="        blocked: dropped",
        said=r"apply x/deny-ingress: 6 of 20 pairs differ: .*: rejected .*, expected dropped",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    "twin",
    [
        pytest.param(TWINS[0], id="a pair"),
        pytest.param(TWINS[1], id="another pair", marks=LONG),
        pytest.param(TWINS[2], id="the way", marks=LONG),
    ],
)
def test_a_wrong_expectation_is_red_and_says_why(machine: Machine, netpol: str, tmp_path: Path, twin: Twin) -> None:
    written = SPEC.read_text().replace(
        "        timeout: 60s\n        stableFor", "        timeout: 5s\n        stableFor"
    )
    assert written.count(twin.right) == 1, f"{SPEC.name} no longer has, once: {twin.right}"
    path = SPEC.with_name(f"_wrong-netpol-{os.getpid()}.yaml")
    path.write_text(written.replace(twin.right, twin.wrong))
    try:
        ran = on_cluster(machine, tmp_path, path, netpol, QUICK[0])
    finally:
        path.unlink()

    assert ran.code == 1, ran.text
    (step,) = steps(ran, path)
    assert step.status == "failed"
    assert re.search(twin.said, step.message), said(step)

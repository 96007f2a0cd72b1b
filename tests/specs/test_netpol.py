"""What needs a network that enforces NetworkPolicies, on one cluster: the spec, its negative twins, and the example."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from koalesce.events import ClusterReady, PhaseStarted, StepFinished
from tests.long import LONG
from tests.specs.shared import ROOT, Machine, Ran, run, said, shown
from tests.specs.test_examples import EXAMPLES, check_green, cluster_of

SPEC = ROOT / "specs" / "kube-router-netpol.yaml"
EXAMPLE = ROOT / "docs" / "examples" / "network-policy.yaml"
QUICK = ("policies and labels come, change and go, and take effect in time", "of each kind of policy one")
LONG_TESTS = ("the cases of Kubernetes' own tests", "policies made by chance")

IPTABLES = ("--matrix", "backend=iptables")
# An image of kube-router with the backend of nftables, of somebody who has one: VERSION=ARCHIVE.
OTHER_VERSION, _, OTHER_ARCHIVE = os.environ.get("KOALESCE_TEST_KUBE_ROUTER", "").partition("=")
NFTABLES = ("--matrix", "backend=nftables", "--set", f"version={OTHER_VERSION}")

pytestmark = pytest.mark.spec


@contextmanager
def cluster_with(machine: Machine, name: str, *flags: str) -> Iterator[str]:
    """A cluster with kube-router, by its name."""
    made = machine.koalesce("up", str(SPEC), "--name", name, *flags)
    assert made.returncode == 0, made.stdout
    yield name
    gone = machine.koalesce("down", name)
    assert gone.returncode == 0, gone.stdout


@pytest.fixture(scope="module")
def netpol(machine: Machine) -> Iterator[str]:
    """The name of a cluster with kube-router."""
    with cluster_with(machine, f"netpol-{os.getpid()}", *IPTABLES) as name:
        yield name


def on_cluster(machine: Machine, folder: Path, path: Path, cluster: str, *tests: str, flags: Sequence[str] = ()) -> Ran:
    """Run tests of a spec on the cluster."""
    only = ["--run", f"^({'|'.join(map(re.escape, tests))})$"] if tests else []
    return run(machine, folder, [path], "--cluster", cluster, *only, *flags)


def check_tests(ran: Ran, path: Path, tests: tuple[str, ...]) -> None:
    """These tests have run, and have passed."""
    ends = {end.test: end.status for end in ran.tests(shown(path)) if end.status != "skipped"}
    assert ends == dict.fromkeys(tests, "passed"), ran.told(shown(path))


def test_the_spec_is_green(machine: Machine, netpol: str, tmp_path: Path) -> None:
    ran = on_cluster(machine, tmp_path, SPEC, netpol, *QUICK, flags=IPTABLES)

    check_tests(ran, SPEC, QUICK)
    measured = [step.message for step in steps(ran, SPEC)]
    assert all("in effect after" in message for message in measured), measured


@pytest.mark.parametrize("tests", [pytest.param(LONG_TESTS, marks=LONG, id="all")])
def test_all_cases_are_green(machine: Machine, netpol: str, tmp_path: Path, tests: tuple[str, ...]) -> None:
    check_tests(on_cluster(machine, tmp_path, SPEC, netpol, *tests, flags=IPTABLES), SPEC, tests)


def test_without_an_image_that_has_it_nftables_is_skipped_and_no_cluster_is_made(
    machine: Machine, tmp_path: Path
) -> None:
    ran = run(machine, tmp_path, [SPEC], "--matrix", "backend=nftables")

    assert ran.code == 5, ran.text
    ends = {(end.status, end.message) for end in ran.tests(shown(SPEC))}
    assert ends == {("skipped", 'if: is "nftables of v2.10.0", expected anything but "nftables of v2.10.0"')}
    assert not [event for event in ran.events if isinstance(event, PhaseStarted | ClusterReady)]


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
    check_twin(machine, netpol, tmp_path, twin, IPTABLES)


@pytest.mark.extra
@pytest.mark.skipif(
    not OTHER_VERSION, reason="takes an image of kube-router with nftables: KOALESCE_TEST_KUBE_ROUTER=VERSION=ARCHIVE"
)
def test_nftables_is_green_and_its_twins_are_red(machine: Machine, tmp_path: Path) -> None:
    image = f"docker.io/cloudnativelabs/kube-router:{OTHER_VERSION}={OTHER_ARCHIVE}"
    with cluster_with(machine, f"netpol-nft-{os.getpid()}", *NFTABLES, "--image", image) as cluster:
        tests = (*QUICK, *LONG_TESTS)
        check_tests(on_cluster(machine, tmp_path, SPEC, cluster, *tests, flags=NFTABLES), SPEC, tests)
        for twin in TWINS:
            check_twin(machine, cluster, tmp_path, twin, NFTABLES)


def check_twin(machine: Machine, cluster: str, folder: Path, twin: Twin, flags: Sequence[str]) -> None:
    """A twin of the spec is red, and says why."""
    written = SPEC.read_text().replace(
        "        timeout: 60s\n        stableFor", "        timeout: 5s\n        stableFor"
    )
    assert written.count(twin.right) == 1, f"{SPEC.name} no longer has, once: {twin.right}"
    path = SPEC.with_name(f"_wrong-netpol-{os.getpid()}.yaml")
    path.write_text(written.replace(twin.right, twin.wrong))
    try:
        ran = on_cluster(machine, folder, path, cluster, QUICK[0], flags=flags)
    finally:
        path.unlink()

    assert ran.code == 1, ran.text
    (step,) = steps(ran, path)
    assert step.status == "failed"
    assert re.search(twin.said, step.message), said(step)

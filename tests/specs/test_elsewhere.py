"""The tour, unchanged, on a cluster that others made: here one that `koalesce up` has made, as its kubeconfig alone tells of it.

On a cluster of ours it's run by test_specs.py, on machines that are reached by SSH by tests/cluster/test_ssh_provider.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from koalesce.assets import state_dir
from tests.specs.shared import ROOT, Machine, Ran, run

pytestmark = pytest.mark.spec
TOUR = ROOT / "specs" / "quickstart.yaml"
ELSEWHERE = ROOT / "tests" / "specs" / "_elsewhere"
PODS, REFUSED = ELSEWHERE / "pods.yaml", ELSEWHERE / "refused.yaml"
_LACKING = {"node-exec", "host-exec"}  # what a kubeconfig alone doesn't give


def elsewhere(machine: Machine, cluster: str, folder: Path, spec: Path, **settings: str) -> Ran:
    """Run a spec on the cluster as one that others made."""
    kubeconfig = (machine.state or state_dir()) / "clusters" / cluster / "kubeconfig"
    file = folder / "settings.yaml"
    file.write_text(json.dumps({"kubeconfig": settings}))
    flags = ["--provider", "kubeconfig", "--kubeconfig", str(kubeconfig), "--i-own", "koalesce"]
    return run(machine, folder, [spec], *flags, "--settings", str(file))


def outcomes(ran: Ran, spec: Path) -> dict[str, tuple[str, str]]:
    """How its tests ended, and why."""
    return {test.test: (test.status, test.message) for test in ran.tests(str(spec.relative_to(ROOT)))}


def test_the_tour_is_green_on_a_cluster_that_others_made(machine: Machine, cluster: str, tmp_path: Path) -> None:
    ran = elsewhere(machine, cluster, tmp_path, TOUR)

    tests = ran.tests("specs/quickstart.yaml")
    skipped = [test for test in tests if test.status == "skipped"]
    assert ran.code == 0, ran.text
    assert {test.status for test in tests} <= {"passed", "skipped"}
    assert len(tests) - len(skipped) >= 5
    assert all(any(name in test.message for name in _LACKING) for test in skipped), skipped


def test_pods_are_looked_from_by_the_probe_that_is_put_beside_them(
    machine: Machine, cluster: str, tmp_path: Path
) -> None:
    ran = elsewhere(machine, cluster, tmp_path, PODS)

    assert ran.code == 0, ran.text
    assert {status for status, _ in outcomes(ran, PODS).values()} == {"passed"}


def test_what_agnhost_can_not_tell_is_skipped_with_what_it_takes(
    machine: Machine, cluster: str, tmp_path: Path
) -> None:
    ran = elsewhere(machine, cluster, tmp_path, PODS, pod_probes="agnhost")

    found = outcomes(ran, PODS)
    assert ran.code == 0, ran.text
    assert {name: said for name, (status, said) in found.items() if status != "passed"} == {
        "who says no is told": "the cluster lacks probe-icmp, which its steps take",
        **dict.fromkeys(
            ("who asked and who answered is told", "packets of a size", "requests and names", "asked again and again"),
            "the cluster lacks probe-answers, which its steps take",
        ),
    }


def test_where_no_probe_may_be_in_a_pod_it_is_an_error_that_says_why(
    machine: Machine, cluster: str, tmp_path: Path
) -> None:
    found = outcomes(elsewhere(machine, cluster, tmp_path, REFUSED, pod_probes="agnhost"), REFUSED)

    assert {status for status, _ in found.values()} == {"error"}
    for name, said in {
        "strict": 'violates PodSecurity "restricted:latest"', "a pod that isn't the run's": "the pod isn't the run's, and would keep it",
        "an expression that only the run knows": "the cluster lacks probe-icmp",
    }.items():  # fmt: skip
        assert said in found[name][1]


def test_an_image_that_can_not_be_had_is_an_error_that_names_it(machine: Machine, cluster: str, tmp_path: Path) -> None:
    image = "registry.k8s.io/e2e-test-images/agnhost:0.0.1"

    found = outcomes(
        elsewhere(machine, cluster, tmp_path, ELSEWHERE / "one.yaml", probe_image=image), ELSEWHERE / "one.yaml"
    )

    ((status, said),) = found.values()
    assert status == "error"
    assert f"no probe runs in it, an ephemeral container of {image}: " in said
    assert "probe_image of the provider names another" in said

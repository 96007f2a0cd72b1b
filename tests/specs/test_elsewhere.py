"""The tour, unchanged, on a cluster that others made: here one that `koalesce up` has made, as its kubeconfig alone tells of it.

On a cluster of ours it's run by test_specs.py, on machines that are reached by SSH by tests/cluster/test_ssh_provider.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.assets import state_dir
from tests.specs.shared import ROOT, Machine, run

pytestmark = pytest.mark.spec
TOUR = ROOT / "specs" / "quickstart.yaml"
_LACKING = {"node-exec", "host-exec"}  # what a kubeconfig alone doesn't give


def test_the_tour_is_green_on_a_cluster_that_others_made(machine: Machine, cluster: str, tmp_path: Path) -> None:
    kubeconfig = (machine.state or state_dir()) / "clusters" / cluster / "kubeconfig"

    ran = run(
        machine, tmp_path, [TOUR], "--provider", "kubeconfig", "--kubeconfig", str(kubeconfig), "--i-own", "koalesce"
    )

    tests = ran.tests("specs/quickstart.yaml")
    skipped = [test for test in tests if test.status == "skipped"]
    assert ran.code == 0, ran.text
    assert {test.status for test in tests} <= {"passed", "skipped"}
    assert len(tests) - len(skipped) >= 5
    assert all(any(name in test.message for name in _LACKING) for test in skipped), skipped

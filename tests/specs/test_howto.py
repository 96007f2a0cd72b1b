"""What how-to pages show, done as they say: programs of docs/how-to/python.md, and the specs of pages whose fragments are whole tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doc_blocks import blocks
from tests.specs.shared import ROOT, Machine

pytestmark = pytest.mark.spec

_PATIENCE = 900
_HOW_TO = ROOT / "docs" / "how-to"
_WHOLE, _CLUSTER = [block for block in blocks(_HOW_TO / "python.md") if block.language == "python"][:2]
_BECOMES = [block for block in blocks(_HOW_TO / "migrating.md") if block.language == "yaml"][-1]
_HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: shown}\n"
_DNS = f"""\
{_HEAD}tests:
  - name: a lookup answers
    steps:
      - dns: {{from: {{node: control-plane}}, name: kubernetes.default.svc.cluster.local, server: "${{{{ cluster.dnsIP }}}}"}}
        timeout: 60s
  - name: another thing
    steps:
      - script: exit 1
"""
_WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {name: web, image: "registry.k8s.io/e2e-test-images/agnhost:2.66.1", args: [netexec, --http-port=8080]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the specs that the pages speak of."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "koalesce.toml").touch()
    (tmp_path / "specs" / "dns.yaml").write_text(_DNS)
    (tmp_path / "specs" / "web.yaml").write_text(_WEB)
    (tmp_path / "specs" / "shown.yaml").write_text(_HEAD + _BECOMES.text)
    return tmp_path


def _program(machine: Machine, folder: Path, text: str) -> str:
    state = {} if machine.state is None else {"KOALESCE_STATE_DIR": str(machine.state)}
    found = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, env={**os.environ, **state, "PYTHONPATH": found}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=_PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_program_that_runs_a_spec(machine: Machine, cluster: str, project: Path) -> None:
    assert 'timeout="5m")' in _WHOLE.text

    out = _program(machine, project, _WHOLE.text.replace('timeout="5m")', f'timeout="5m", cluster="{cluster}")'))

    assert out.startswith("passed a lookup answers ")
    assert out.count("\n") == 1, out


def test_the_program_that_has_a_cluster_of_its_own(machine: Machine, project: Path) -> None:
    assert "temporary_cluster(nodes=2)" in _CLUSTER.text

    _program(machine, project, _CLUSTER.text)

    assert "python-" not in machine.koalesce("clusters").stdout


def test_what_a_test_of_chainsaw_becomes(machine: Machine, cluster: str, project: Path) -> None:
    done = Machine(state=machine.state, home=project).koalesce("run", "specs/shown.yaml", "--cluster", cluster)

    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout

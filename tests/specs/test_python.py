"""Programs and pytest on a real cluster: what docs/how-to/python.md says, on the one that the examples share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.specs.shared import ROOT, Machine

pytestmark = pytest.mark.spec

_PATIENCE = 600
_PAGE = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
_FIXTURES = re.findall(r"^```python\n(def test_.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)
_SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: tiny}
tests:
  - name: nodes are Ready
    steps:
      - wait-for: {resource: nodes, all: true, count: 3, condition: Ready}
  - name: not as many as that
    labels: {xfail: too many}
    steps:
      - wait-for: {resource: nodes, all: true, count: 9, condition: Ready}
        timeout: 1s
"""
_TESTS = """
import pytest
from koalesce import StepFailed

def test_a_step_fails_as_an_assertion(namespace):
    with pytest.raises(StepFailed) as caught:
        namespace.wait_for("configmap/none", exists=True, timeout="1s")
    assert caught.value.result.status == "failed"

def test_steps_and_objects_share_the_namespace(namespace):
    namespace.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: greeting}, data: {text: hello}}")
    namespace.wait_for("configmap/greeting", exists=True)
    namespace.step("assert: {resource: configmap/greeting, match: {data: {text: hello}}}")
    assert namespace.delete("configmap/greeting")

def test_nodes_run_commands(cluster):
    cluster.step("exec: {nodes: all, command: [cat, /proc/sys/net/ipv4/ip_forward], stdout: '1'}")
    assert {node.run(["hostname"]).check().out.strip() for node in cluster.nodes} == {"control-plane", "worker-1", "worker-2"}
"""
_PROGRAM = """
import sys
from koalesce import run_spec

result = run_spec("tiny.koalesce.yaml", cluster=sys.argv[1])
(spec,) = result.specs
good, bad = spec.tests
(step,) = good.steps
assert (good.status, step.type, step.status, step.attempts >= 1) == ("passed", "wait-for", "passed", True)
assert (bad.status, result.ok) == ("failed", False)
assert bad.evidence is not None and bad.evidence.is_dir(), bad.evidence
assert spec.clusters[0].name == sys.argv[1] and spec.clusters[0].is_shared
assert bad.message in result.explanation
"""


def _run(machine: Machine, folder: Path, *words: str) -> str:
    state = {} if machine.state is None else {"KOALESCE_STATE_DIR": str(machine.state)}
    found = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env={**os.environ, **state, "PYTHONPATH": found}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=_PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "koalesce.toml").touch()
    (tmp_path / "tiny.koalesce.yaml").write_text(_SPEC)
    (tmp_path / "test_tiny.py").write_text("\n".join([_TESTS, *_FIXTURES]))
    return tmp_path


def test_a_program_runs_specs(machine: Machine, cluster: str, project: Path) -> None:
    _run(machine, project, "-c", _PROGRAM, cluster)


def test_pytest_runs_specs_and_tests_of_python(machine: Machine, cluster: str, project: Path) -> None:
    assert _FIXTURES
    known = any(each.name == "koalesce" for each in entry_points(group="pytest11"))
    load = [] if known else ["-p", "koalesce.pytest_plugin"]

    out = _run(machine, project, "-m", "pytest", *load, "-p", "no:cacheprovider", "--koalesce-cluster", cluster, "-v")

    assert "tiny.koalesce.yaml::nodes are Ready PASSED" in out
    assert f"{4 + len(_FIXTURES)} passed, 1 xfailed" in out, out

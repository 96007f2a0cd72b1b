"""What a run would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.cli.main import main
from koalesce.cluster_request import ClusterRequest

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: a}
cluster: {nodes: 2, kubernetes: "1.37.2"}
setup:
  steps:
    - script: "true"
tests:
  - name: first
    steps:
      - {name: a while, sleep: 1s}
      - wait-for: {resource: node/worker-1, condition: Ready}
    cleanup:
      - sleep: 1s
  - {name: second, skip: not yet, steps: [{sleep: 1s}]}
"""
STEPS = """\
specs/a.yaml
  cluster: local, Kubernetes 1.37.2, 2 nodes
  setup: 1 step
    1. script true  (line 7)
  specs/a.yaml:9  first
    1. sleep: a while  (line 11)
    2. wait-for: node/worker-1 Ready  (line 12)
    cleanup 1. sleep 1s  (line 14)
  specs/a.yaml:15  second  (skipped: not yet)
    1. sleep 1s  (line 15)
"""
COUNT = "1 of 2 tests in 1 spec would run; nothing was started\n"


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ClusterRequest]:
    monkeypatch.chdir(tmp_path)
    Path("specs").mkdir()
    Path("specs/a.yaml").write_text(SPEC)
    requests: list[ClusterRequest] = []

    def plan(request: ClusterRequest) -> list[str]:
        requests.append(request)
        return ["create terraform_data.cluster"]

    monkeypatch.setattr("koalesce.providers.planning.planned_changes", plan)
    return requests


def test_shows_the_steps_in_order_and_terraforms_plan(
    capsys: pytest.CaptureFixture[str], asked: list[ClusterRequest]
) -> None:
    assert main(["plan"]) == 0

    terraform = "terraform for specs/a.yaml:\n  create terraform_data.cluster\n"
    assert capsys.readouterr().out == STEPS + terraform + COUNT
    assert [(request.provider, len(request.nodes)) for request in asked] == [("local", 2)]


def test_without_terraform_nothing_is_executed(capsys: pytest.CaptureFixture[str], asked: list[ClusterRequest]) -> None:
    assert main(["plan", "--no-terraform"]) == 0

    assert capsys.readouterr().out == STEPS + COUNT
    assert asked == []


def test_the_same_cluster_is_planned_once(asked: list[ClusterRequest]) -> None:
    Path("specs/b.yaml").write_text(SPEC)

    assert main(["plan"]) == 0

    assert len(asked) == 1


def test_of_a_spec_with_nothing_to_run_no_cluster_is_planned(
    capsys: pytest.CaptureFixture[str], asked: list[ClusterRequest]
) -> None:
    Path("specs/a.yaml").write_text(SPEC.replace("- name: first", "- name: first\n    if: {value: 1, equals: 2}"))

    assert main(["plan"]) == 0

    assert capsys.readouterr().out == (
        "specs/a.yaml\n"
        "  cluster: none, as every test is skipped\n"
        "  specs/a.yaml:9  first  (skipped: if: is 1, expected 2)\n"
        "  specs/a.yaml:16  second  (skipped: not yet)\n"
        "0 of 2 tests in 1 spec would run; nothing was started\n"
    )
    assert asked == []


def test_nothing_to_plan_is_5() -> None:
    assert main(["plan", "--run", "nothing like it"]) == 5

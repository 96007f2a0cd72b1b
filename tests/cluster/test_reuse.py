"""Runs beside each other, one of which shares a cluster between its specs: they don't meet, what a spec leaves is told, nothing stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from koalesce.cli import exit_codes
from koalesce.events import AnyEvent, ClusterReady, SpecFinished
from koalesce.local.ledger import Ledger
from koalesce.reporters.jsonl import read_events
from tests.cluster.whole_machine import LOCAL_CLUSTERS

pytestmark = [*LOCAL_CLUSTERS]
HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {{name: {name}}}\ncluster: {{{cluster}}}\n"
# Until all runs are here, each looks whether it is alone in its cluster.
ALONE = """\
tests:
  - name: alone among others
    timeout: 10m
    steps:
      - name: all runs are here
        script: 'touch here-{me}; until [ -e here-1 -a -e here-2 -a -e here-3 -a -e here-4 ]; do sleep 0.1; done'
        timeout: 9m
      - jsonpath: {{resource: namespaces, selector: koalesce.dev/run, path: "{{.items[*].metadata.name}}", all: {{equals: "${{{{ namespace }}}}"}}, count: 1}}
      - apply: {{object: {{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: everybodys}}, rules: []}}}}
"""
LEAVES = """\
tests:
  - name: leaves something behind
    steps:
      - exec: {node: control-plane, command: [sh, -c, "ip route add blackhole 10.99.0.0/16 && ipset create left hash:ip && echo 1 > /etc/left"]}
"""
PATIENCE = 900.0


def start(folder: Path, state: Path, *specs: str) -> subprocess.Popen[str]:
    """A run in a folder of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "koalesce", "run", *specs, "--events", f"{specs[0]}.jsonl"],
        cwd=folder, env={**os.environ, "KOALESCE_STATE_DIR": str(state), "NO_COLOR": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def events(folder: Path, spec: str) -> list[AnyEvent]:
    return list(read_events(folder / f"{spec}.jsonl"))


def test_four_runs_of_two_users_and_specs_that_share(tmp_path: Path) -> None:
    states = [tmp_path / "one", tmp_path / "other"]
    one_node, no_nodes = "nodes: 1, shared: true", "nodes: 0"
    (tmp_path / "1.yaml").write_text(HEAD.format(name="same", cluster=one_node) + ALONE.format(me=1))
    (tmp_path / "leaves.yaml").write_text(HEAD.format(name="leaves", cluster=one_node) + LEAVES)
    for me in (2, 3, 4):
        (tmp_path / f"{me}.yaml").write_text(HEAD.format(name="same", cluster=no_nodes) + ALONE.format(me=me))

    runs = [
        start(tmp_path, states[0], "1.yaml", "leaves.yaml"), start(tmp_path, states[0], "2.yaml"),
        start(tmp_path, states[1], "3.yaml"), start(tmp_path, states[1], "4.yaml"),
    ]  # fmt: skip
    out = [run.communicate(timeout=PATIENCE)[0] for run in runs]

    assert [run.returncode for run in runs] == [exit_codes.FAILED, *[exit_codes.PASSED] * 3], "\n".join(out)
    told = events(tmp_path, "1.yaml")
    assert [event.reused for event in told if isinstance(event, ClusterReady)] == [False, True]
    first, second = (event for event in told if isinstance(event, SpecFinished))
    assert first.status == "passed"
    assert second.status == "failed"
    for left in ("route blackhole 10.99.0.0/16", "ipset left", "file /etc/left"):
        assert left in second.message
    assert [Ledger(state / "clusters").entries() for state in states] == [[], []]

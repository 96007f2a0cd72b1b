"""A real cluster with metrics-server; only where that has been built (`make test-all`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from koalesce.kube import Kube
from koalesce.local import client
from koalesce.local.ledger import Ledger
from koalesce.process import run
from koalesce.toolchain import Toolchain
from tests.cluster.whole_machine import LOCAL_CLUSTERS

NAME = "t-metrics"


def is_built() -> bool:
    return any(state.tool == "metrics-server" and state.folder for state in Toolchain().states(""))


pytestmark = [
    *LOCAL_CLUSTERS,
    pytest.mark.skipif(not is_built(), reason="metrics-server isn't built: koalesce toolchain path metrics-server"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kube, Sequence[str]]]:
    """One node, as its API and the way to run commands on it."""
    ledger = Ledger(tmp_path_factory.mktemp("state") / "clusters")
    folder = ledger.folder / NAME
    node = {"name": "cp", "role": "control-plane"}
    request = {
        "name": NAME, "kubernetes_version": "1.37.2", "nodes": [node], "addons": ["metrics-server"], "state_dir": str(folder),
    }  # fmt: skip
    client.up(json.dumps(request), ledger=ledger, progress=lambda line: None)
    kube = Kube(folder / "kubeconfig")
    try:
        yield kube, _prefix(folder)
    finally:
        kube.close()
        client.down(NAME, ledger=ledger)


def _prefix(folder: Path) -> Sequence[str]:
    outputs: dict[str, Any] = json.loads((folder / "outputs.json").read_text())
    assert "metrics-server" in outputs["capabilities"]
    return list(outputs["nodes"][0]["exec"])


def test_metrics_are_served_once_the_cluster_is_up(cluster: tuple[Kube, Sequence[str]]) -> None:
    kube, _ = cluster

    found = kube.request("GET", "/apis/metrics.k8s.io/v1beta1/nodes")["items"]

    assert [node["metadata"]["name"] for node in found] == ["cp"]
    assert set(found[0]["usage"]) == {"cpu", "memory"}


@pytest.mark.parametrize("what", [["nodes"], ["pods", "--namespace", "kube-system"]])
def test_kubectl_top_works(cluster: tuple[Kube, Sequence[str]], what: Sequence[str]) -> None:
    _, prefix = cluster
    command = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "top", *what]

    header, *rows = run([*prefix, *command], timeout=60).check().out.splitlines()

    assert header.startswith("NAME")
    assert {row.split()[0].partition("-")[0] for row in rows} <= {"cp", "coredns", "metrics"}
    assert rows

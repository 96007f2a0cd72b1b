"""One real cluster of three control planes, of static pods with members of etcd beside them, of both families: it bears the loss of any of them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from koalesce.cli.node_logs import NodeLog, followed
from koalesce.cluster import Fault, Machine
from koalesce.errors import ClusterError, KoalesceError
from koalesce.kube import Kube
from koalesce.local import client
from koalesce.local.ledger import Ledger
from koalesce.providers.local import LocalProvider
from koalesce.providers.local_faults import LocalFault, LocalFaults
from tests.cluster.patience import eventually
from tests.cluster.whole_machine import LOCAL_CLUSTERS
from tests.long import long

NAME = "t-control-planes"
NODES = ("cp-1", "cp-2", "cp-3")
STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
VIRTUAL = "fd4b:6f61:6c65::2"
SYSTEM = "kube-system"

pytestmark = [*LOCAL_CLUSTERS]


@dataclass(frozen=True)
class Cluster:
    kube: Kube
    outputs: dict[str, Any]
    faults: LocalFaults

    def run(self, node: str, *command: str) -> subprocess.CompletedProcess[str]:
        (prefix,) = [item["exec"] for item in self.outputs["nodes"] if item["name"] == node]
        return subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=60, check=False)

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        return self.kube.get(self.kube.resource(kind), name, namespace)

    def is_true(self, condition: str, kind: str, name: str, namespace: str | None = None) -> bool:
        found = self.get(kind, name, namespace)
        conditions = found["status"].get("conditions", ()) if found else ()
        return [each["status"] for each in conditions if each["type"] == condition] == ["True"]

    def is_whole(self) -> bool:
        """Whether all nodes and all pods of control planes are Ready, and etcd's members healthy."""
        pods = [(f"{component}-{node}", SYSTEM) for component in STATIC for node in NODES]
        return (
            all(self.is_true("Ready", "nodes", node) for node in NODES)
            and all(self.is_true("Ready", "pods", *pod) for pod in pods)
            and all(self.is_healthy(node) for node in NODES)
        )

    def is_healthy(self, node: str) -> bool:
        """Whether a member of etcd says that it can read and write, as only one of a quorum can."""
        script = "exec 3<>/dev/tcp/127.0.0.1/2381; printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        return "200 OK" in self.run(node, "timeout", "5", "bash", "-c", script).stdout

    def write(self, name: str) -> None:
        """Make an object, at the second or a later try where the connection was just one to a lost API server."""
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}

        def is_there() -> bool:
            try:
                if not self.get("configmaps", name, "default"):
                    self.kube.create(wanted)
            except KoalesceError:
                return False
            return True

        eventually(is_there)

    def begin(self, kind: Any, *machines: str, **more: Any) -> LocalFault:
        return self.faults.begin(Fault(kind=kind, machines=machines, **more))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    ledger = Ledger(tmp_path_factory.mktemp("state") / "clusters")
    folder = ledger.folder / NAME
    request = {
        "name": NAME, "kubernetes_version": "1.37.2", "nodes": [{"name": name, "role": "control-plane"} for name in NODES],
        "control_plane": "static", "dns": "none", "ip_families": ["IPv6", "IPv4"], "state_dir": str(folder), "settings": {"timeout": 600},
    }  # fmt: skip
    client.up(json.dumps(request), ledger=ledger, progress=lambda line: None)
    kube = Kube(folder / "kubeconfig")
    faults = LocalFaults(name=NAME, kinds=LocalProvider.fault_kinds, ledger=ledger)
    try:
        yield Cluster(kube, json.loads((folder / "outputs.json").read_text()), faults)
    finally:
        kube.close()
        client.down(NAME, ledger=ledger)


@pytest.fixture(autouse=True)
def whole(cluster: Cluster) -> None:
    """What a test before has done is over."""
    eventually(cluster.is_whole)


def test_static_pods_are_shown_as_everywhere(cluster: Cluster) -> None:
    for component in STATIC:
        pod = cluster.get("pods", f"{component}-cp-2", SYSTEM)
        assert pod is not None
        assert pod["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
        assert pod["metadata"]["labels"] == {"component": component, "tier": "control-plane"}
        assert pod["spec"]["nodeName"] == "cp-2"
        assert pod["spec"]["containers"][0]["image"] == f"registry.k8s.io/{component}:v1.37.2"
    (logs,) = [item["logs"] for item in cluster.outputs["nodes"] if item["name"] == "cp-2"]
    assert "leaderelection" in cluster.run("cp-2", *logs["kube-scheduler"]).stdout


def test_nodes_reach_the_api_at_the_virtual_address(cluster: Cluster) -> None:
    assert f"https://[{VIRTUAL}]:6443" in cluster.run("cp-3", "cat", "/etc/kubernetes/kubelet.conf").stdout
    assert VIRTUAL not in {address for item in cluster.outputs["nodes"] for address in item["addresses"]}
    assert cluster.run("cp-3", "timeout", "10", "bash", "-c", f"exec 3<>/dev/tcp/{VIRTUAL}/6443").returncode == 0


def test_one_of_the_controllers_leads(cluster: Cluster) -> None:
    for component in STATIC[1:]:
        lease = cluster.get("leases", component, SYSTEM)
        assert lease is not None
        assert lease["spec"]["holderIdentity"].rpartition("_")[0] in NODES


@pytest.mark.parametrize(("component", "program"), [("kube-apiserver", "kube-apiserver"), ("etcd", "etcd")])
def test_without_a_component_of_one_the_api_takes_changes(cluster: Cluster, component: str, program: str) -> None:
    fault = cluster.begin("stop-component", "cp-1", component=component)
    try:
        assert cluster.run("cp-1", "pgrep", "-x", program).returncode == 1

        cluster.write(f"without-{component}")
    finally:
        fault.undo()

    assert cluster.run("cp-1", "pgrep", "-x", program).returncode == 0


def test_a_static_pod_that_is_killed_is_started_again_and_its_log_is_followed_into_the_new_one(
    cluster: Cluster,
) -> None:
    before = cluster.run("cp-2", "pgrep", "-x", "kube-scheduler").stdout
    lines: list[str] = []
    troubles: list[KoalesceError] = []
    (entry,) = [item for item in cluster.outputs["nodes"] if item["name"] == "cp-2"]
    node = Machine(
        name="cp-2", address="", exec=entry["exec"], **{kind: {"kube-scheduler": entry[kind]["kube-scheduler"]} for kind in ("logs", "follows")}
    )  # fmt: skip
    log = NodeLog(node, "kube-scheduler")
    with tempfile.TemporaryFile() as copy:
        log.copy(copy)
        begin = log.end_of(copy)

    with followed([(log, begin)], lambda _, line: lines.append(line), troubles.append):
        cluster.begin("kill-component", "cp-2", component="kube-scheduler").undo()
        eventually(lambda: troubles or any("Starting Kubernetes Scheduler" in line for line in lines))

    assert troubles == []
    assert cluster.run("cp-2", "pgrep", "-x", "kube-scheduler").stdout not in ("", before)


@long
def test_a_control_plane_that_is_switched_off_is_not_missed_and_comes_back(cluster: Cluster) -> None:
    """The first one: it was there before the others."""
    fault = cluster.begin("kill-node", "cp-1")
    cluster.write("without-cp-1")
    with pytest.raises(ClusterError, match="cp-2 holds the cluster's state, which would be lost"):
        cluster.begin("kill-node", "cp-2")

    fault.undo()

    eventually(cluster.is_whole)
    assert cluster.get("configmaps", "without-cp-1", "default")
    # Of the member that it has now, as of any other, the two that are left can be a quorum.
    again = cluster.begin("stop-component", "cp-2", component="etcd")
    cluster.write("without-etcd-of-cp-2")
    again.undo()

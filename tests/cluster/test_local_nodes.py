"""One real cluster, looked at from all sides: its nodes, what pods see of the machine, its network, its services."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from koalesce.kube import Kube
from koalesce.local import client
from koalesce.local.ledger import Ledger
from tests.cluster.patience import eventually
from tests.cluster.whole_machine import LOCAL_CLUSTERS

NAME = "t-nodes"
NODES = ("control-plane", "worker-1")
# Small enough to be quick to pull, with a shell and curl.
IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"


pytestmark = [*LOCAL_CLUSTERS]


@dataclass(frozen=True)
class Cluster:
    kube: Kube
    outputs: dict[str, Any]
    folder: Path
    supervisor: int

    def run(self, node: str, *command: str) -> str:
        (prefix,) = [item["exec"] for item in self.outputs["nodes"] if item["name"] == node]
        done = subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sh(self, pod: str, script: str) -> str:
        result = self.kube.exec(pod, ["sh", "-c", script], namespace="default")
        assert result.code == 0, result
        return result.stdout.decode() if isinstance(result.stdout, bytes) else result.stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes, on each a web server that tells who asks."""
    ledger = Ledger(tmp_path_factory.mktemp("state") / "clusters")
    folder = ledger.folder / NAME
    nodes = [{"name": name, "role": "worker" if "worker" in name else "control-plane"} for name in NODES]
    request = {"name": NAME, "kubernetes_version": "1.37.2", "nodes": nodes, "state_dir": str(folder)}
    client.up(json.dumps(request), ledger=ledger, progress=lambda line: None)
    kube = Kube(folder / "kubeconfig")
    entry = ledger.find(NAME)
    assert entry is not None
    assert entry.supervisor is not None
    made = Cluster(kube, json.loads((folder / "outputs.json").read_text()), folder, entry.supervisor.pid)
    try:
        for name in NODES:
            kube.create(pod(f"web-{name}", name))
        kube.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
            }
        )
        for name in NODES:
            eventually(lambda name=name: status(kube, f"web-{name}").get("phase") == "Running")
        yield made
    finally:
        kube.close()
        client.down(NAME, ledger=ledger)


def pod(name: str, node: str, **container: Any) -> dict[str, Any]:
    spec = {"name": "c", "image": IMAGE, "args": ["netexec", "--http-port=8080"], **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"} if name[:3] == "web" else {}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [spec]},
    }


def status(kube: Kube, name: str) -> dict[str, Any]:
    found = kube.get(kube.resource("pods"), name, "default")
    return dict(found["status"]) if found else {}


def address(cluster: Cluster, node: str) -> str:
    return str(status(cluster.kube, f"web-{node}")["podIP"])


def test_nodes_are_told_apart_by_all_that_kubernetes_looks_at(cluster: Cluster) -> None:
    infos = [node["status"]["nodeInfo"] for node in cluster.kube.list(cluster.kube.resource("nodes"))]
    hosts = Path("/etc/machine-id").read_text().strip() if Path("/etc/machine-id").exists() else ""

    assert len({info["machineID"] for info in infos} | {hosts}) == 3
    assert len({info["bootID"] for info in infos} | {Path("/proc/sys/kernel/random/boot_id").read_text().strip()}) == 3
    assert {info["kubeletVersion"] for info in infos} == {"v1.37.2"}


def test_a_node_shows_nothing_of_the_machine_but_its_programs(cluster: Cluster) -> None:
    assert cluster.run("worker-1", "ls", "-A", "/root", "/home", "/usr/local", "/usr/src", "/tmp").split() == [
        "/home:", "/root:", "/tmp:", "/usr/local:", "/usr/src:",
    ]  # fmt: skip
    users = cluster.run("worker-1", "cut", "-d:", "-f1", "/etc/passwd").split()
    assert users == ["root", "nobody"]
    assert "shadow" not in cluster.run("worker-1", "ls", "/etc")
    devices = cluster.run("worker-1", "find", "/dev", "-type", "b", "-o", "-name", "kvm", "-o", "-name", "mem")
    assert devices == ""
    assert cluster.run("worker-1", "ls", "/sys/class/net").split() == sorted(
        cluster.run("worker-1", "sh", "-c", "ip -o link | cut -d: -f2 | cut -d@ -f1").split()
    )
    # Key files of the control plane are on its own node only.
    assert "ca.key" in cluster.run("control-plane", "ls", "/etc/kubernetes/pki")
    assert "ca.key" not in cluster.run("worker-1", "ls", "/etc/kubernetes/pki")


@pytest.mark.parametrize("path", ["/usr/bin/x", "/proc/sys/vm/swappiness", "/opt/koalesce/kubernetes/x"])
def test_a_node_changes_nothing_of_the_machine(cluster: Cluster, path: str) -> None:
    assert "Read-only file system" in cluster.run("worker-1", "sh", "-c", f"echo 1 2>&1 >{path} || true")


def test_a_node_may_change_its_own_network_and_plugins(cluster: Cluster) -> None:
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    script = "echo 0 >/proc/sys/net/ipv4/conf/eth0/log_martians && echo x >/opt/cni/bin/own && cat /opt/cni/bin/own"

    assert cluster.run("worker-1", "sh", "-c", script) == "x\n"
    assert "own" not in cluster.run("control-plane", "ls", "/opt/cni/bin")
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


def test_an_unprivileged_pod_sees_no_device_mount_or_secret_of_the_machine(cluster: Cluster) -> None:
    seen = cluster.sh("web-worker-1", "ls /dev; cat /proc/self/mountinfo; cat /proc/1/cgroup")

    devices, _, rest = seen.partition("urandom")
    assert not re.search(r"\b(sd|vd|nvme|kvm|kmsg|mem|loop)", devices)
    assert not re.search(r" /(root|home|work|etc/shadow)\b", rest)
    for line in rest.splitlines():
        if re.match(r"\d+:[a-z,=]+:", line):
            assert "koalesce" not in line  # the node's own part of each hierarchy is the root
    denied = cluster.sh("web-worker-1", "echo 1 2>&1 >/proc/sys/vm/swappiness || true")
    assert "Read-only" in denied


@pytest.mark.parametrize(
    ("url", "answers"),
    [
        ("https://127.0.0.1:2379/version", {"000"}),  # etcd: no TLS connection without a certificate
        ("https://127.0.0.1:2380/members", {"000"}),
        ("https://198.18.0.10:6443/api/v1/secrets", {"401", "403"}),
        ("https://198.18.0.10:10250/pods", {"401", "403"}),
        ("https://127.0.0.1:10257/metrics", {"401", "403"}),
        ("https://127.0.0.1:10259/metrics", {"401", "403"}),
        ("http://198.18.0.10:2379/version", {"000"}),  # and they listen nowhere else
        ("https://198.18.0.10:10257/metrics", {"000"}),
    ],
)
def test_who_shows_no_certificate_is_told_nothing(cluster: Cluster, url: str, answers: set[str]) -> None:
    fetch = f"curl -sk -m 5 -o /dev/null -w '%{{http_code}}' {url} || true"

    assert cluster.run("control-plane", "sh", "-c", fetch) in answers


def test_a_cluster_listens_on_no_address_that_others_can_reach(cluster: Cluster) -> None:
    owner = f"pid={cluster.supervisor},"
    lines = subprocess.run(["ss", "-Hlntup"], capture_output=True, text=True, check=True).stdout.splitlines()

    own = [line.split()[4] for line in lines if owner in line]

    assert len(own) == 1  # the way to the API server
    assert own[0].startswith("127.0.0.1:")


def test_pods_have_cgroups_with_their_limits(cluster: Cluster) -> None:
    limits = {"cpu": "100m", "memory": "32Mi"}
    cluster.kube.create(pod("limited", "worker-1", resources={"limits": limits}))
    eventually(lambda: status(cluster.kube, "limited").get("phase") == "Running")
    groups = cluster.run("worker-1", "sh", "-c", "cat /sys/fs/cgroup/memory/kubepods/*/*/memory.limit_in_bytes "
                         "/sys/fs/cgroup/kubepods/*/*/memory.max 2>/dev/null || true")  # fmt: skip

    assert str(32 * 2**20) in groups.split()


def test_pods_reach_pods_of_other_nodes_with_their_own_address(cluster: Cluster) -> None:
    asking, asked = address(cluster, "worker-1"), address(cluster, "control-plane")

    assert cluster.sh("web-worker-1", f"curl -sf -m 5 http://{asked}:8080/clientip").startswith(f"{asking}:")


def test_pods_reach_services_by_name_and_through_one_on_themselves(cluster: Cluster) -> None:
    names = {cluster.sh("web-worker-1", "curl -sf -m 5 http://web.default.svc/hostname") for _ in range(20)}

    assert names == {"web-control-plane", "web-worker-1"}


def test_nodes_and_this_machine_reach_what_they_should(cluster: Cluster) -> None:
    pod_address = address(cluster, "worker-1")
    assert cluster.run("control-plane", "curl", "-sf", "-m", "5", f"http://{pod_address}:8080/hostname")
    fetch = ["curl", "-skf", "-m", "5", "https://198.18.0.10:6443/livez"]
    done = subprocess.run([*cluster.outputs["host_exec"], *fetch], capture_output=True, text=True)
    assert done.stdout == "ok"


def test_without_egress_names_and_addresses_outside_fail_at_once(cluster: Cluster) -> None:
    began = time.monotonic()

    script = "curl -s -m 20 http://example.com; echo $?; curl -s -m 20 http://192.0.2.77; echo $?"
    codes = cluster.sh("web-worker-1", script).split()

    assert codes == ["6", "7"]
    assert time.monotonic() - began < 20


def test_an_image_that_can_not_be_had_is_told_within_seconds(cluster: Cluster) -> None:
    cluster.kube.create(pod("missing", "worker-1", image="quay.io/nowhere/nothing:1"))

    def reason() -> str:
        (container,) = status(cluster.kube, "missing").get("containerStatuses", [{}])
        return str(container.get("state", {}).get("waiting", {}))

    eventually(lambda: "ImagePull" in reason())
    assert "quay.io/nowhere/nothing:1: not found" in reason()


@pytest.mark.parametrize("service", ["kubelet", "containerd", "kube-proxy", "kube-scheduler"])
def test_a_killed_service_comes_back(cluster: Cluster, service: str) -> None:
    look = f"tr '\\0' ' ' <$p/cmdline | grep -qs '^/opt/koalesce/bin/{service} ' && echo ${{p#/proc/}}"

    def pids() -> list[str]:
        return cluster.run("control-plane", "sh", "-c", f"for p in /proc/[0-9]*; do {look}; done; true").split()

    (before,) = pids()
    cluster.run("control-plane", "kill", "-9", before)

    eventually(lambda: pids() not in ([], [before]))


def test_logs_can_be_read_where_the_contract_says(cluster: Cluster) -> None:
    for node in cluster.outputs["nodes"]:
        for component, command in node["logs"].items():
            said = cluster.run(node["name"], *command)
            assert said or component == "init", component  # an init has something to say only when something goes wrong


def test_phases_were_timed(cluster: Cluster) -> None:
    timed = json.loads((cluster.folder / "phases.json").read_text())
    phases = {phase["name"]: phase for phase in timed["phases"]}

    assert {"nodes", "api server", "nodes ready", "dns"} <= set(phases)
    assert all(phase["seconds"] >= 0 and phase["start"] >= 0 for phase in phases.values())
    assert timed["cpu"]["nodes"] > 0

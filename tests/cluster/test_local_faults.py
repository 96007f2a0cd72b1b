"""Faults on one real cluster: each happens, each is undone however it ends, and nothing of them outlives the cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from koalesce.cluster import Fault
from koalesce.errors import ClusterError, KoalesceError
from koalesce.kube import Kube
from koalesce.local import client
from koalesce.local.hoststate import elements
from koalesce.local.ledger import Ledger
from koalesce.providers.local import LocalProvider
from koalesce.providers.local_faults import LocalFault, LocalFaults
from tests.cluster.patience import eventually
from tests.cluster.whole_machine import LOCAL_CLUSTERS
from tests.long import long

NAME = "t-faults"
NODES = ("control-plane", "worker-1")
DISK = "/var/lib/kubelet"
IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"
# Begins a fault and is killed before it undoes it.
BEGIN = """
import json, signal, sys
from pathlib import Path
from koalesce.cluster import Fault
from koalesce.local.ledger import Ledger
from koalesce.providers.local_faults import LocalFaults
service = LocalFaults(name=sys.argv[1], kinds=frozenset(), ledger=Ledger(Path(sys.argv[2])))
fault = service.begin(Fault(**json.loads(sys.argv[3])))
print("begun", flush=True)
signal.pause()
"""


pytestmark = [*LOCAL_CLUSTERS]


@dataclass(frozen=True)
class Cluster:
    kube: Kube
    outputs: dict[str, Any]
    ledger: Ledger
    faults: LocalFaults

    def code(self, node: str, *command: str) -> int:
        (prefix,) = [item["exec"] for item in self.outputs["nodes"] if item["name"] == node]
        return subprocess.run([*prefix, *command], capture_output=True, timeout=60, check=False).returncode

    def address(self, node: str) -> str:
        (address,) = [str(item["address"]) for item in self.outputs["nodes"] if item["name"] == node]
        return address

    def reaches(self, node: str, other: str) -> bool:
        """Whether the kubelet of a node is reached from another."""
        script = f"exec 3<>/dev/tcp/{self.address(other)}/10250"
        return self.code(node, "timeout", "1", "bash", "-c", script) == 0

    def is_running(self, node: str, program: str) -> bool:
        return self.code(node, "pgrep", "-x", program) == 0

    def node(self, name: str) -> dict[str, Any]:
        found = self.kube.get(self.kube.resource("nodes"), name)
        assert found is not None
        return found

    def is_ready(self, name: str) -> bool:
        conditions = self.node(name)["status"]["conditions"]
        return [each["status"] for each in conditions if each["type"] == "Ready"] == ["True"]

    def is_under_pressure(self, name: str) -> tuple[bool, bool]:
        """Whether a node says so of its disks, and whether pods are kept away for it."""
        node = self.node(name)
        said = [each["status"] for each in node["status"]["conditions"] if each["type"] == "DiskPressure"]
        taints = [taint["key"] for taint in node["spec"].get("taints", ())]
        return said == ["True"], "node.kubernetes.io/disk-pressure" in taints

    def begin(self, kind: Any, *machines: str, **more: Any) -> LocalFault:
        return self.faults.begin(Fault(kind=kind, machines=machines, **more))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes, which at the end have their supervisor killed while one of them stands still."""
    ledger = Ledger(tmp_path_factory.mktemp("state") / "clusters")
    folder = ledger.folder / NAME
    nodes: list[dict[str, Any]] = [
        {"name": "control-plane", "role": "control-plane"},
        {"name": "worker-1", "role": "worker", "disks": [{"path": DISK, "size": 256 * 2**20}]},
    ]
    request = {"name": NAME, "kubernetes_version": "1.37.2", "nodes": nodes, "state_dir": str(folder)}
    client.up(json.dumps(request), ledger=ledger, progress=lambda line: None)
    faults = LocalFaults(name=NAME, kinds=LocalProvider.fault_kinds, ledger=ledger)
    kube = Kube(folder / "kubeconfig")
    try:
        yield Cluster(kube, json.loads((folder / "outputs.json").read_text()), ledger, faults)
        entry = ledger.find(NAME)
        assert entry is not None
        assert entry.supervisor is not None
        groups = [Path(thing.name) for thing in entry.things if thing.kind == "cgroup"]
        frozen = faults.begin(Fault(kind="pause-node", machines=("worker-1",)))
        os.kill(entry.supervisor.pid, signal.SIGKILL)
        client.down(NAME, ledger=ledger)
        frozen.asking.close()
        assert ledger.find(NAME) is None
        assert [group for group in groups if group.exists()] == []
    finally:
        kube.close()
        client.down(NAME, ledger=ledger)


@pytest.mark.parametrize(
    ("node", "component"),
    [
        ("worker-1", "kubelet"), ("worker-1", "kube-proxy"), ("worker-1", "containerd"),
        ("control-plane", "kube-scheduler"), ("control-plane", "kube-controller-manager"),
        ("control-plane", "kube-apiserver"), ("control-plane", "etcd"),
    ],
)  # fmt: skip
def test_a_stopped_component_is_away_until_the_undo(cluster: Cluster, node: str, component: str) -> None:
    program = component[:15]  # as much as the kernel keeps of a name
    fault = cluster.begin("stop-component", node, component=component)
    assert not cluster.is_running(node, program)

    fault.undo()

    assert cluster.is_running(node, program)
    eventually(lambda: _answers(cluster) and all(cluster.is_ready(name) for name in NODES))


def _answers(cluster: Cluster) -> bool:
    try:
        return bool(cluster.kube.version()) and bool(cluster.node("worker-1"))
    except KoalesceError:
        return False


def test_a_paused_component_stands_still(cluster: Cluster) -> None:
    fault = cluster.begin("pause-component", "worker-1", component="kubelet")
    assert cluster.code("worker-1", "pgrep", "-x", "-r", "T", "kubelet") == 0

    fault.undo()

    assert cluster.code("worker-1", "pgrep", "-x", "-r", "T", "kubelet") == 1


def test_a_killed_component_is_started_again(cluster: Cluster) -> None:
    cluster.begin("kill-component", "worker-1", component="containerd").undo()

    assert cluster.is_running("worker-1", "containerd")


def test_a_component_that_a_node_has_not_is_an_error(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="worker-1 runs no etcd; it runs containerd, kubelet, kube-proxy"):
        cluster.begin("stop-component", "worker-1", component="etcd")


def test_a_paused_node_does_not_go_on(cluster: Cluster) -> None:
    counting = "while :; do echo x >>/tmp/count; sleep 0.05; done"
    pod = _pod("count", ["sh", "-c", counting.replace("/tmp", "/data")])
    pod["spec"]["volumes"] = [{"name": "data", "hostPath": {"path": "/srv/count", "type": "DirectoryOrCreate"}}]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    cluster.kube.create(pod)
    eventually(lambda: cluster.code("worker-1", "test", "-s", "/srv/count/count") == 0)

    fault = cluster.begin("pause-node", "worker-1")
    cluster.code("worker-1", "cp", "/srv/count/count", "/srv/before")
    time.sleep(0.5)
    assert cluster.code("worker-1", "cmp", "/srv/count/count", "/srv/before") == 0
    with pytest.raises(ClusterError, match="worker-1 is paused"):
        cluster.begin("stop-component", "worker-1", component="kubelet")

    fault.undo()
    eventually(lambda: cluster.code("worker-1", "cmp", "/srv/count/count", "/srv/before"))


def test_a_container_is_paused_and_killed(cluster: Cluster) -> None:
    cluster.kube.create(_pod("web", ["/agnhost", "netexec"]))
    eventually(lambda: _container(cluster, "web"))
    first = _container(cluster, "web")

    fault = cluster.begin("pause-container", containers=(("worker-1", first),))
    assert cluster.code("worker-1", "sh", "-c", f"ctr -n k8s.io tasks ls | grep {first} | grep -q PAUSED") == 0
    fault.undo()
    assert cluster.code("worker-1", "sh", "-c", f"ctr -n k8s.io tasks ls | grep {first} | grep -q RUNNING") == 0

    cluster.begin("kill-container", containers=(("worker-1", first),)).undo()
    eventually(lambda: _container(cluster, "web") not in ("", first))


def test_a_container_is_restarted_in_its_pod(cluster: Cluster) -> None:
    cluster.kube.create(_pod("again", ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"]))
    eventually(lambda: _container(cluster, "again"))
    first, address = _container(cluster, "again"), _address(cluster, "again")

    cluster.begin("restart-container", containers=(("worker-1", first),)).undo()

    eventually(lambda: _container(cluster, "again") not in ("", first))
    assert _address(cluster, "again") == address
    assert _last_code(cluster, "again") == 0  # it was asked, and has ended by itself


def test_a_whole_pod_is_paused_killed_and_begun_anew_with_another_network(cluster: Cluster) -> None:
    cluster.kube.create(_pod("whole", ["/agnhost", "pause"]))
    eventually(lambda: _container(cluster, "whole"))
    first, address = _container(cluster, "whole"), _address(cluster, "whole")
    pod = (("worker-1", "default", "whole"),)

    fault = cluster.begin("pause-pod", pods=pod)
    assert cluster.code("worker-1", "sh", "-c", f"ctr -n k8s.io tasks ls | grep {first} | grep -q PAUSED") == 0
    fault.undo()
    cluster.begin("kill-pod", pods=pod).undo()

    eventually(lambda: _container(cluster, "whole") not in ("", first))
    eventually(lambda: _address(cluster, "whole") not in ("", address))
    with pytest.raises(ClusterError, match="no container of pod default/nobody runs on worker-1"):
        cluster.begin("kill-pod", pods=(("worker-1", "default", "nobody"),))


def test_a_program_is_restarted_by_whoever_looks_after_it(cluster: Cluster) -> None:
    def pid() -> str:
        return output(cluster, "worker-1", "pgrep", "-x", "kube-proxy").strip()

    before = pid()
    cluster.begin("restart-process", "worker-1", process="kube-proxy").undo()

    assert pid() not in ("", before)


def test_a_cable_is_pulled_and_put_back(cluster: Cluster) -> None:
    assert cluster.reaches("control-plane", "worker-1")
    fault = cluster.begin("link-down", "worker-1")
    assert not cluster.reaches("control-plane", "worker-1")

    fault.undo()

    eventually(lambda: cluster.reaches("control-plane", "worker-1"))


@pytest.mark.parametrize("one_way", [False, True])
def test_a_partition_is_made_and_healed(cluster: Cluster, one_way: bool) -> None:
    fault = cluster.begin("partition", "worker-1", others=("control-plane",), one_way=one_way)
    assert not cluster.reaches("control-plane", "worker-1")
    assert not cluster.reaches("worker-1", "control-plane")

    fault.undo()

    eventually(lambda: cluster.reaches("control-plane", "worker-1"))


def test_one_way_only_what_goes_the_one_way_is_lost(cluster: Cluster) -> None:
    """A datagram needs no answer: it shows which way is open."""

    def arrives(sender: str, receiver: str) -> bool:
        listen = "import socket,sys; s=socket.socket(2,2); s.bind(('',9)); print('ready',flush=True); sys.exit(s.recv(9) != b'x')"
        last = "import socket; socket.socket(2,2).sendto(b'last',('127.0.0.1',9))"
        (prefix,) = [item["exec"] for item in cluster.outputs["nodes"] if item["name"] == receiver]
        with subprocess.Popen([*prefix, "python3", "-c", listen], stdout=subprocess.PIPE) as receiving:
            assert receiving.stdout is not None
            assert receiving.stdout.readline() == b"ready\n"
            send = f"import socket,time; s=socket.socket(2,2)\nfor n in range(15): s.sendto(b'x',('{cluster.address(receiver)}',9)); time.sleep(.1)"
            cluster.code(sender, "python3", "-c", send)
            cluster.code(receiver, "python3", "-c", last)  # whatever has come was there before
            return receiving.wait() == 0

    fault = cluster.begin("partition", "worker-1", others=("control-plane",), one_way=True)
    try:
        assert not arrives("worker-1", "control-plane")
        assert arrives("control-plane", "worker-1")
    finally:
        fault.undo()


def output(cluster: Cluster, node: str, *command: str) -> str:
    (prefix,) = [item["exec"] for item in cluster.outputs["nodes"] if item["name"] == node]
    return subprocess.run([*prefix, *command], capture_output=True, timeout=60, check=True, text=True).stdout


def test_a_link_is_degraded_at_both_its_ends_and_then_as_before(cluster: Cluster) -> None:
    if "tbf" not in cluster.outputs["capabilities"]:
        pytest.skip("the kernel has no tbf")

    def qdiscs() -> list[bool]:
        inside = output(cluster, "worker-1", "tc", "qdisc", "show", "dev", "eth0")
        outside = subprocess.run(
            [*cluster.outputs["host_exec"], "tc", "qdisc", "show", "dev", "node1"], capture_output=True, check=True
        )
        return ["tbf" in inside, b"tbf" in outside.stdout]

    fault = cluster.faults.begin(Fault(kind="degrade-link", machines=("worker-1",), link={"rate": "10mbit"}))
    assert qdiscs() == [True, True]
    with pytest.raises(ClusterError, match="the link of worker-1 is degraded already"):
        cluster.faults.begin(Fault(kind="degrade-link", machines=("worker-1",), link={"rate": "10mbit"}))
    fault.undo()

    assert qdiscs() == [False, False]


CASES: list[tuple[dict[str, str], list[str], list[str], str]] = [
    (
        {"chain": "T-MINE", "table": "nat"},
        ["iptables -t nat -N T-MINE", "iptables -t nat -A T-MINE -d 10.1.1.1/32 -p tcp -m tcp --dport 80 -j RETURN", "iptables -t nat -A T-MINE -j ACCEPT"],
        ["iptables -t nat -F T-MINE", "iptables -t nat -X T-MINE"],
        "iptables -t nat -S T-MINE",
    ),
    (
        {"ipset": "t-mine"},
        ["ipset create t-mine hash:net", "ipset add t-mine 10.1.0.0/16", "ipset add t-mine 10.2.0.0/16"],
        ["ipset destroy t-mine"],
        "ipset save -sorted t-mine",
    ),
    (
        {"nft_chain": "ip t-mine input"},
        ["nft add table ip t-mine", "nft add chain ip t-mine input { type filter hook input priority 0 ; }", "nft add rule ip t-mine input tcp dport 1 counter accept", "nft add rule ip t-mine input ip saddr 203.0.113.0/24 drop"],
        ["nft delete table ip t-mine"],
        "nft -s list table ip t-mine",
    ),
    (
        {"nft_set": "ip t-set known"},
        ["nft add table ip t-set", "nft add set ip t-set known { type ipv4_addr ; flags interval ; }", "nft add element ip t-set known { 203.0.113.0/25 }", "nft add element ip t-set known { 198.51.100.7 }"],
        ["nft delete table ip t-set"],
        "nft -j list set ip t-set known",
    ),
    (
        {"nft_set": "ip t-map doors"},
        ["nft add table ip t-map", "nft add chain ip t-map web", "nft add map ip t-map doors { type inet_service : verdict ; }", "nft add element ip t-map doors { 80 : goto web }", "nft add element ip t-map doors { 81 : drop }"],
        ["nft delete table ip t-map"],
        "nft -j list map ip t-map doors",
    ),
]  # fmt: skip


def held(text: str) -> int:
    """How many elements a set has as nft tells it in JSON; how many lines another text has."""
    return len(elements(text)) if text.startswith("{") else len(text.splitlines())


@pytest.mark.parametrize(
    ("state", "making", "ending", "show"), CASES, ids=["chain", "ipset", "nft", "nft-set", "nft-map"]
)
def test_what_is_removed_from_a_kernel_is_put_back_as_it_was(
    cluster: Cluster, state: dict[str, str], making: list[str], ending: list[str], show: str
) -> None:
    if {"ipset": "ipset", "nft_chain": "nftables", "nft_set": "nftables"}.get(
        next(iter(state)), "iptables"
    ) not in cluster.outputs["capabilities"]:
        pytest.skip("the kernel has none such")
    for line in making:
        output(cluster, "worker-1", *line.split())
    before = output(cluster, "worker-1", *show.split())
    try:
        fault = cluster.faults.begin(Fault(kind="remove-state", machines=("worker-1",), state=state))
        without = output(cluster, "worker-1", *show.split())
        fault.undo()
        after = output(cluster, "worker-1", *show.split())
    finally:
        for line in ending:
            output(cluster, "worker-1", *line.split())

    assert held(without) == held(before) - 2
    assert after == before


def test_processes_are_paused_and_killed_by_the_name_of_their_program(cluster: Cluster) -> None:
    output(cluster, "worker-1", "sh", "-c", "cp /usr/bin/sleep /tmp/t-bird; /tmp/t-bird 600 >/dev/null 2>&1 &")

    def states() -> str:
        return output(cluster, "worker-1", "sh", "-c", "ps -o stat= -C t-bird || true").strip()[:1]

    fault = cluster.faults.begin(Fault(kind="pause-process", machines=("worker-1",), process="t-bird"))
    assert states() == "T"
    fault.undo()
    assert states() in ("S", "R")

    cluster.faults.begin(Fault(kind="kill-process", machines=("worker-1",), process="t-bird")).undo()
    assert states() in ("", "Z")
    with pytest.raises(ClusterError, match="there is no process t-bird"):
        cluster.faults.begin(Fault(kind="kill-process", machines=("worker-1",), process="t-bird"))


def test_a_fault_ends_with_the_process_that_asked_for_it(cluster: Cluster) -> None:
    fault = json.dumps({"kind": "link-down", "machines": ["worker-1"]})
    command = [sys.executable, "-c", BEGIN, NAME, str(cluster.ledger.folder), fault]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == b"begun\n"
        assert not cluster.reaches("control-plane", "worker-1")

        asking.kill()

    eventually(lambda: cluster.reaches("control-plane", "worker-1"))


def test_a_node_that_is_switched_off_boots_without_what_it_knew(cluster: Cluster) -> None:
    before = cluster.node("worker-1")["status"]["nodeInfo"]
    assert cluster.code("worker-1", "touch", "/root/remembered", "/var/lib/remembered") == 0

    fault = cluster.begin("kill-node", "worker-1")
    assert cluster.code("worker-1", "true") != 0
    with pytest.raises(ClusterError, match="worker-1 is switched off"):
        cluster.begin("pause-node", "worker-1")
    fault.undo()

    eventually(lambda: cluster.node("worker-1")["status"]["nodeInfo"]["bootID"] != before["bootID"])
    eventually(lambda: cluster.is_ready("worker-1"))
    assert cluster.code("worker-1", "sh", "-c", "test ! -e /root/remembered && test ! -e /var/lib/remembered") == 0
    assert cluster.code("worker-1", "grep", "-q", "ended with code", "/var/log/koalesce/kubelet.log") == 0
    eventually(lambda: cluster.reaches("control-plane", "worker-1"))


def test_pods_run_on_a_node_that_was_restarted(cluster: Cluster) -> None:
    cluster.begin("restart-node", "worker-1").undo()

    cluster.kube.create(_pod("after", ["/agnhost", "pause"]))
    eventually(lambda: _container(cluster, "after"))


@long
def test_a_disk_of_the_kubelet_that_is_full_puts_its_node_under_pressure_until_it_is_not(cluster: Cluster) -> None:
    cluster.kube.create(_pod("evicted", ["/agnhost", "pause"]))
    eventually(lambda: _container(cluster, "evicted"))

    fault = cluster.begin("fill-disk", "worker-1", path=DISK)
    eventually(lambda: cluster.is_under_pressure("worker-1") == (True, True))
    eventually(lambda: not _container(cluster, "evicted"))
    fault.undo()

    eventually(lambda: _reason(cluster, "evicted") == "Evicted")  # only now it can write down that the pod is over
    eventually(lambda: cluster.is_under_pressure("worker-1") == (False, False))
    cluster.kube.create(_pod("later", ["/agnhost", "pause"]))
    eventually(lambda: _container(cluster, "later"))


def test_the_node_of_the_control_plane_stays_on(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="control-plane holds the cluster's state"):
        cluster.begin("kill-node", "control-plane")


def _pod(name: str, command: list[str]) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "command": command}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "worker-1", "terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def _container(cluster: Cluster, pod: str) -> str:
    """The id of a pod's container that runs; empty if none does."""
    found = cluster.kube.get(cluster.kube.resource("pods"), pod, "default")
    statuses = found["status"].get("containerStatuses", ()) if found else ()
    running = [status["containerID"] for status in statuses if "running" in status["state"]]
    return running[0].rpartition("/")[2] if running else ""


def _address(cluster: Cluster, pod: str) -> str:
    """A pod's address; empty if it has none."""
    found = cluster.kube.get(cluster.kube.resource("pods"), pod, "default")
    return str(found["status"].get("podIP", "")) if found else ""


def _last_code(cluster: Cluster, pod: str) -> int:
    """What a pod's container before this one ended with; -1 if it's not said."""
    found = cluster.kube.get(cluster.kube.resource("pods"), pod, "default")
    statuses = found["status"].get("containerStatuses", ()) if found else ()
    return next((status["lastState"]["terminated"]["exitCode"] for status in statuses if status["lastState"]), -1)


def _reason(cluster: Cluster, pod: str) -> str:
    """Why a pod has ended; empty if it's not said."""
    found = cluster.kube.get(cluster.kube.resource("pods"), pod, "default")
    return str(found["status"].get("reason", "")) if found else ""

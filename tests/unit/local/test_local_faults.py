"""Faults as the supervisor carries them out, on nodes that are fakes; the real ones are hurt in tests/cluster."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from koalesce.errors import ClusterError, UsageError
from koalesce.local import components, containers, disks, processes
from koalesce.local.bringup import Bringup
from koalesce.local.faults import Faults, partition
from koalesce.local.request import from_mapping


@dataclass
class Node:
    """A node whose services do what their init is told; `stubborn` ones don't end by SIGTERM, `broken` ones don't stay up."""

    name: str
    running: dict[str, int] = field(default_factory=lambda: {"containerd": 11, "kubelet": 12})
    held: set[str] = field(default_factory=set)
    stubborn: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    signals: list[tuple[str, str]] = field(default_factory=list)
    has_ended: bool = False
    pid: int = 0

    def services(self) -> dict[str, int]:
        return dict(self.running)

    def hold(self, service: str) -> None:
        self.held.add(service)

    def release(self, service: str) -> None:
        self.held.discard(service)
        if not self.running[service]:
            self._start(service)

    def signal(self, service: str, number: signal.Signals) -> None:
        self.signals.append((service, number.name))
        if number is signal.SIGKILL or (number is signal.SIGTERM and service not in self.stubborn):
            self.running[service] = 0
            if service not in self.held:
                self._start(service)

    def _start(self, service: str) -> None:
        self.running[service] = 0 if service in self.broken else 100 + len(self.signals)

    def log_tail(self, service: str) -> str:
        return f"{service}: no such flag"


@dataclass
class World:
    nodes: dict[str, Node]
    request: Any
    fixtures: dict[str, Node] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    def cut_power(self, name: str) -> None:
        self.done.append(f"off {name}")
        self.gone.add(name)

    def boot(self, name: str) -> None:
        self.done.append(f"on {name}")
        self.gone.discard(name)
        self.nodes[name] = Node(name)

    def groups(self, name: str) -> list[Path]:
        return []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("_ASKED", "_KILLED", "_STARTING", "_SETTLING"):
        monkeypatch.setattr(components, name, 0.0)
    names = {"control-plane": "control-plane", "worker-1": "worker", "worker-2": "worker"}
    disks = [{"path": "/mnt/data", "size": 8192}]
    nodes = [{"name": name, "role": role, "disks": disks if role == "worker" else []} for name, role in names.items()]
    request = {"name": "c", "kubernetes_version": "1.37.2", "nodes": nodes, "state_dir": str(tmp_path)}
    return World(nodes={name: Node(name) for name in names}, request=from_mapping(request))


@pytest.fixture
def faults(world: World) -> Faults:
    return Faults(cast("Bringup", world))


def fault(kind: str, *machines: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind, "machines": list(machines), "component": "", "containers": [], "pods": [], "path": "", "others": [], "one_way": False, **more
    }  # fmt: skip


def test_a_stopped_component_runs_again_after_the_undo(world: World, faults: Faults) -> None:
    worker = world.nodes["worker-1"]

    undo = faults.begin(fault("stop-component", "worker-1", component="kubelet"))
    assert worker.running["kubelet"] == 0
    undo()

    assert worker.running["kubelet"] > 0
    assert worker.signals == [("kubelet", "SIGTERM")]


def test_a_component_that_does_not_end_when_asked_is_killed(world: World, faults: Faults) -> None:
    world.nodes["worker-1"].stubborn.add("kubelet")

    faults.begin(fault("stop-component", "worker-1", component="kubelet"))

    assert world.nodes["worker-1"].signals == [("kubelet", "SIGTERM"), ("kubelet", "SIGKILL")]


def test_a_component_that_does_not_come_back_is_an_error_with_its_last_words(world: World, faults: Faults) -> None:
    undo = faults.begin(fault("stop-component", "worker-1", component="kubelet"))
    world.nodes["worker-1"].broken.add("kubelet")

    with pytest.raises(
        ClusterError, match=r"kubelet on worker-1 doesn't stay up; it said last:\n  \| kubelet: no such"
    ):
        undo()


def test_what_is_disturbed_is_not_disturbed_twice_and_can_be_again_afterwards(faults: Faults) -> None:
    stop = fault("stop-component", "worker-1", component="kubelet")
    undo = faults.begin(stop)
    with pytest.raises(ClusterError, match="kubelet on worker-1 is stopped already"):
        faults.begin(stop)

    undo()

    faults.begin(stop)()


@pytest.fixture
def shell(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What commands of nodes answer, by how they begin; \"said\" holds all that were given, one a line."""
    answers = {"said": ""}

    def on(_self: Faults, node: Any, *words: str, text: str = "") -> str:
        line = " ".join(words)
        answers["said"] += f"{node.name}: {line}{f' <<< {text}' if text else ''}\n"
        return next((answer for head, answer in answers.items() if head != "said" and line.startswith(head)), "")

    monkeypatch.setattr(Faults, "_on", on)
    return answers


def test_a_route_that_nobody_has_put_back_is_put_back(faults: Faults, shell: dict[str, str]) -> None:
    show = "ip -4 route show table main exact 10.244.1.0/24"
    shell[show] = "10.244.1.0/24 via 198.18.0.11 dev eth0 proto 17 linkdown \n"

    undo = faults.begin(fault("remove-state", "worker-1", state={"route": "10.244.1.0/24"}))
    shell[show] = ""
    undo()

    assert shell["said"].splitlines() == [
        f"worker-1: {show}",
        "worker-1: ip -4 route del 10.244.1.0/24 table main",
        f"worker-1: {show}",
        "worker-1: ip -4 route add 10.244.1.0/24 via 198.18.0.11 dev eth0 proto 17 table main",
    ]


def test_what_somebody_has_put_back_is_left_alone(faults: Faults, shell: dict[str, str]) -> None:
    shell["ipset save mine"] = "create mine hash:net\nadd mine 10.1.0.0/16\n"

    faults.begin(fault("remove-state", "worker-1", state={"ipset": "mine"}))()

    assert [line.split(": ")[1] for line in shell["said"].splitlines()] == [
        "ipset save mine", "ipset flush mine", "ipset save mine",
    ]  # fmt: skip


def test_a_paused_program_goes_on_afterwards(faults: Faults, shell: dict[str, str]) -> None:
    shell["sh -c for pid in $(pgrep"] = "12\n15\n"

    undo = faults.begin(fault("pause-process", "worker-1", process="a-program-of-a-long-name"))
    with pytest.raises(ClusterError, match="a-program-of-a-long-name on worker-1 is paused already"):
        faults.begin(fault("pause-process", "worker-1", process="a-program-of-a-long-name"))
    undo()

    said = shell["said"].splitlines()
    assert said[0].endswith("sh a-program-of-a-")  # as much of the name as the kernel keeps
    assert "kill -STOP" in said[1]
    assert "kill -CONT" in said[2]
    assert said[2].endswith("sh 12 15")


def test_a_program_that_does_not_run_cannot_be_killed(faults: Faults, shell: dict[str, str]) -> None:
    with pytest.raises(ClusterError, match="there is no process bird"):
        faults.begin(fault("kill-process", "worker-1", process="bird"))


class Runtime:
    """Containers of a node as `ctr` tells of them; a signal ends one, and a kubelet starts those anew that are to be."""

    def __init__(self, *, restarts: bool = True) -> None:
        self.states = {"sb": "RUNNING", "web": "RUNNING", "log": "RUNNING", "other": "RUNNING", "done": "STOPPED"}
        self.names = {"sb": "", "web": "web", "log": "log", "other": "main", "done": "setup"}
        self.deaf: set[str] = set()  # those that don't end by SIGTERM
        self.restarts = restarts
        self.said: list[str] = []

    def run(self, _faults: Faults, _node: Any, *words: str, text: str = "") -> str:
        assert words[:3] == ("ctr", "--namespace", "k8s.io")
        line = " ".join(words[3:])
        match words[3:5]:
            case ("tasks", "list"):
                listed = [f"{one} 7 {state}" for one, state in self.states.items()]
                return "\n".join(["TASK PID STATUS", *listed])
            case ("containers", "list"):
                return "\n".join(one for one, name in self.names.items() if self._fits(one, name, line))
            case ("containers", "info"):
                return self._labels(words[5])
        self.said.append(line)
        one = words[-1]
        if words[4] == "kill" and ("SIGKILL" in words or one not in self.deaf):
            self.states[one] = "STOPPED"
            if self.restarts and one != "sb":
                self.states[f"{one}-2"], self.names[f"{one}-2"] = "RUNNING", self.names[one]
        elif words[4] in ("pause", "resume"):
            self.states[one] = "PAUSED" if words[4] == "pause" else "RUNNING"
        return ""

    def _fits(self, one: str, name: str, line: str) -> bool:
        is_others = one.startswith("other")
        if "pod.name" in line:
            assert line.endswith('labels."io.kubernetes.pod.namespace"==ns,labels."io.kubernetes.pod.name"==web-0')
            return not is_others
        return not is_others and line.endswith(
            f'labels."io.kubernetes.pod.uid"==u,labels."io.kubernetes.container.name"=={name}'
        )

    def _labels(self, one: str) -> str:
        kind = "sandbox" if one == "sb" else "container"
        labels = {"io.cri-containerd.kind": kind, "io.kubernetes.pod.uid": "u"}
        return json.dumps(
            {"Labels": labels | ({"io.kubernetes.container.name": self.names[one]} if one != "sb" else {})}
        )


def runtime(monkeypatch: pytest.MonkeyPatch, **how: Any) -> Runtime:
    found = Runtime(**how)
    monkeypatch.setattr(Faults, "_on", lambda faults, node, *words, text="": found.run(faults, node, *words, text=text))
    for module, name in (
        (containers, "_ASKED"),
        (containers, "_STARTED"),
        (processes, "_ASKED"),
        (processes, "_STARTED"),
    ):
        monkeypatch.setattr(module, name, 0.0)
    return found


WEB = [["worker-1", "web"]]
POD = [["worker-1", "ns", "web-0"]]


def test_a_container_that_is_restarted_is_asked_to_end_and_begun_anew(
    faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctr = runtime(monkeypatch)

    faults.begin(fault("restart-container", containers=WEB))()

    assert ctr.said == ["tasks kill --signal SIGTERM web"]
    assert ctr.states["web-2"] == "RUNNING"


def test_one_that_does_not_end_when_asked_is_killed(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    ctr = runtime(monkeypatch)
    ctr.deaf.add("web")

    faults.begin(fault("restart-container", containers=WEB))()

    assert ctr.said == ["tasks kill --signal SIGTERM web", "tasks kill --all --signal SIGKILL web"]


def test_one_that_nobody_starts_again_is_an_error_that_says_so(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime(monkeypatch, restarts=False)

    with pytest.raises(ClusterError, match="the container web on worker-1 has ended, and isn't started again"):
        faults.begin(fault("restart-container", containers=WEB))


def test_a_whole_pod_ends_with_what_holds_its_network(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    ctr = runtime(monkeypatch)

    faults.begin(fault("kill-pod", pods=POD))()

    assert ctr.said == [f"tasks kill --all --signal SIGKILL {one}" for one in ("web", "log", "sb")]


def test_a_whole_pod_stands_still_and_goes_on(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    ctr = runtime(monkeypatch)

    undo = faults.begin(fault("pause-pod", pods=POD))
    with pytest.raises(ClusterError, match="no container of pod ns/web-0 runs on worker-1"):
        faults.begin(fault("kill-pod", pods=POD))
    undo()

    assert ctr.said == ["tasks pause web", "tasks pause log", "tasks resume log", "tasks resume web"]


def test_a_container_that_does_not_run_can_not_be_killed(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime(monkeypatch)

    with pytest.raises(ClusterError, match="the container gone on worker-1 doesn't run: it is gone"):
        faults.begin(fault("kill-container", containers=[["worker-1", "gone"]]))


@pytest.mark.parametrize("is_started_again", [True, False])
def test_a_program_that_is_restarted_is_another_process(
    faults: Faults, monkeypatch: pytest.MonkeyPatch, is_started_again: bool
) -> None:
    signals: list[str] = []

    def on(_self: Faults, _node: Any, *words: str, text: str = "") -> str:
        if "pgrep" in words[2]:
            return ("19" if is_started_again else "") if signals else "12\n15"
        signals.append(" ".join(words[2:]))
        return ""

    runtime(monkeypatch)
    monkeypatch.setattr(Faults, "_on", on)
    restart = fault("restart-process", "worker-1", process="bird")
    if is_started_again:
        faults.begin(restart)()
    else:
        with pytest.raises(ClusterError, match="bird on worker-1 has ended, and nobody starts it again"):
            faults.begin(restart)

    (said,) = signals
    assert "kill -TERM" in said
    assert said.endswith("sh 12 15")


def test_what_went_well_until_another_node_refuses_is_undone(world: World, faults: Faults) -> None:
    del world.nodes["worker-2"].running["kubelet"]

    with pytest.raises(ClusterError, match="worker-2 runs no kubelet; it runs containerd"):
        faults.begin(fault("stop-component", "worker-1", "worker-2", component="kubelet"))

    assert world.nodes["worker-1"].running["kubelet"] > 0
    assert world.nodes["worker-1"].held == set()


def test_a_killed_component_is_another_process(world: World, faults: Faults) -> None:
    faults.begin(fault("kill-component", "worker-1", component="containerd"))()

    assert world.nodes["worker-1"].running["containerd"] not in (0, 11)
    assert world.nodes["worker-1"].signals == [("containerd", "SIGKILL")]


def test_a_node_is_off_until_the_undo_boots_it(world: World, faults: Faults) -> None:
    undo = faults.begin(fault("kill-node", "worker-1"))
    assert world.done == ["off worker-1"]
    with pytest.raises(ClusterError, match="worker-1 is switched off"):
        faults.begin(fault("stop-component", "worker-1", component="kubelet"))

    undo()

    assert world.done == ["off worker-1", "on worker-1"]


def test_a_component_of_a_node_that_was_booted_since_needs_no_undo(world: World, faults: Faults) -> None:
    undo = faults.begin(fault("stop-component", "worker-1", component="kubelet"))
    faults.begin(fault("restart-node", "worker-1"))
    world.nodes["worker-1"].broken.add("kubelet")

    undo()

    assert world.nodes["worker-1"].signals == []


def test_a_component_of_a_fixture_is_stopped_and_started_as_a_nodes(world: World, faults: Faults) -> None:
    world.fixtures["e1"] = Node("e1", running={"etcd": 10})

    undo = faults.begin(fault("stop-component", "e1", component="etcd"))
    assert world.fixtures["e1"].running == {"etcd": 0}
    undo()

    assert world.fixtures["e1"].running["etcd"]
    with pytest.raises(ClusterError, match="e1 runs no kubelet; it runs etcd"):
        faults.begin(fault("stop-component", "e1", component="kubelet"))
    world.gone.add("e1")
    with pytest.raises(ClusterError, match="e1 has ended"):
        faults.begin(fault("kill-component", "e1", component="etcd"))


def test_the_node_of_the_control_plane_stays_on(world: World, faults: Faults) -> None:
    with pytest.raises(ClusterError, match="control-plane holds the cluster's state"):
        faults.begin(fault("restart-node", "worker-1", "control-plane"))

    assert world.done == ["off worker-1", "on worker-1"]


@pytest.mark.parametrize(
    ("before", "is_refused"),
    [
        (None, False),
        (fault("kill-node", "cp-2"), True),
        (fault("stop-component", "cp-2", component="etcd"), True),
        (fault("stop-component", "cp-2", component="kubelet"), False),
    ],
)
def test_of_several_control_planes_one_goes_while_most_members_of_etcd_are_left(
    world: World, faults: Faults, before: dict[str, Any] | None, is_refused: bool
) -> None:
    nodes = [{"name": f"cp-{number}", "role": "control-plane"} for number in (1, 2, 3)]
    request = {"name": "c", "kubernetes_version": "1.37.2", "nodes": nodes, "state_dir": "/state"}
    world.request = from_mapping(request)
    world.nodes = {node["name"]: Node(node["name"], running={"etcd": 10, "kubelet": 12}) for node in nodes}
    undo = faults.begin(before) if before else lambda: None

    if is_refused:
        with pytest.raises(ClusterError, match="cp-1 holds the cluster's state"):
            faults.begin(fault("kill-node", "cp-1"))
        undo()
    faults.begin(fault("kill-node", "cp-1"))()

    assert world.done[-2:] == ["off cp-1", "on cp-1"]


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (
            fault("stop-component", "worker-9", component="kubelet"),
            "there is no node worker-9; there are: control-plane",
        ),
        (fault("link-down", "c1"), "there is no machine c1; there are: control-plane, worker-1, worker-2"),
        (fault("pause-node", "worker-1"), "this machine can't freeze processes"),
    ],
)
def test_what_can_not_be_done_says_why(faults: Faults, wanted: dict[str, Any], problem: str) -> None:
    with pytest.raises(Exception, match=problem):
        faults.begin(wanted)


def test_a_fault_of_another_version_is_refused(faults: Faults) -> None:
    with pytest.raises(UsageError, match="a local cluster knows no fault flood"):
        faults.begin(fault("flood", "worker-1"))


def test_a_partition_drops_all_both_ways_or_all_but_the_resolution_of_addresses_one_way() -> None:
    pairs = [("node0", "node1"), ("node0", "fixture0")]

    assert partition("t", pairs, one_way=True).splitlines()[3:7] == [
        "    ether type arp accept",
        "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        '    iifname "node0" oifname "node1" counter drop',
        '    iifname "node0" oifname "fixture0" counter drop',
    ]
    assert '    iifname "fixture0" oifname "node0" counter drop' in partition("t", pairs, one_way=False).splitlines()


def test_a_disk_is_filled_once_and_has_its_size_again(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(disks, "fill", lambda run, path: done.append(f"fill {path}"))
    monkeypatch.setattr(disks, "empty", lambda run, path, size: done.append(f"empty {path} {size}"))

    undo = faults.begin(fault("fill-disk", "worker-1", path="/mnt/data"))
    with pytest.raises(ClusterError, match="/mnt/data of worker-1 is full already"):
        faults.begin(fault("fill-disk", "worker-1", path="/mnt/data"))
    undo()
    again = faults.begin(fault("fill-disk", "worker-1", path="/mnt/data"))
    world.nodes["worker-1"].has_ended = True  # and its disk with it
    again()

    assert done == ["fill /mnt/data", "empty /mnt/data 8192", "fill /mnt/data"]


@pytest.mark.parametrize(("node", "has"), [("worker-1", "/mnt/data"), ("control-plane", "none")])
def test_a_disk_that_a_node_has_not_is_an_error(faults: Faults, node: str, has: str) -> None:
    with pytest.raises(ClusterError, match=f"{node} has no disk /mnt; it has {has}"):
        faults.begin(fault("fill-disk", node, path="/mnt"))

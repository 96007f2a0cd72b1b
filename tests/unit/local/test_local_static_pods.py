"""Components of a control plane as static pods: their manifests, and what faults do to them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import ClusterError
from koalesce.local import components, control_plane, kubelet, static_pods
from koalesce.local.outputs import outputs
from koalesce.local.request import LocalRequest, from_mapping
from koalesce.local.static_pods import StaticPod
from koalesce.matching.quantity import quantity

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def request(**changes: Any) -> LocalRequest:
    nodes = [{"name": "cp", "role": "control-plane"}]
    basis = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "nodes": nodes}
    return from_mapping({**basis, "control_plane": "static", "etcd": {"mode": "static"}, **changes})


def pod(component: str, **changes: Any) -> dict[str, Any]:
    wanted = request(**changes)
    argv = control_plane.services(wanted, wanted.control)[component].argv
    return static_pods.manifest(wanted, wanted.control, argv, f"{component}:1")


def test_each_is_a_pod_of_the_host_network_that_runs_the_same_flags() -> None:
    for component in COMPONENTS:
        found = pod(component)
        (container,) = found["spec"]["containers"]

        assert found["metadata"]["labels"] == {"component": component, "tier": "control-plane"}
        assert found["spec"]["hostNetwork"]
        assert container["command"][0] == component
        assert container["command"][1:] == control_plane.services(request(), request().control)[component].argv[1:]


def test_a_kubelet_finds_room_for_all_of_them_in_its_node_before_it_has_said_what_it_has() -> None:
    room = kubelet.node_object(request().control)["status"]["allocatable"]
    requests = [pod(component)["spec"]["containers"][0]["resources"]["requests"] for component in COMPONENTS]

    for resource in ("cpu", "memory"):
        wanted = sum(quantity(each.get(resource, "0")) or 0 for each in requests)
        assert 0 < wanted <= (quantity(room[resource]) or 0)
    assert len(COMPONENTS) <= int(room["pods"])


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_sees_every_file_that_its_flags_name(component: str) -> None:
    spec = pod(component, audit_policy="kind: Policy", admission_configuration="kind: AdmissionConfiguration")["spec"]
    (container,) = spec["containers"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    named = [flag.partition("=")[2] for flag in container["command"][1:]]

    for path in (value for value in named if value.startswith("/")):
        assert any(Path(path).is_relative_to(mount) for mount in mounts), path
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert {volume["hostPath"]["path"] for volume in spec["volumes"]} == set(mounts)


def test_only_what_is_asked_for_is_static() -> None:
    assert request().static == COMPONENTS
    assert request(etcd={}).static == COMPONENTS[1:]
    assert request(control_plane="process").static == ("etcd",)
    assert request(control_plane="process", etcd={}).static == ()
    with pytest.raises(ValueError, match="kube-apiserver can't be a static pod of a cluster without nodes"):
        request(nodes=[], etcd={})


def test_logs_are_those_of_the_pods() -> None:
    (node,) = outputs(request(etcd={}), Path("/state"), port=1, pid=42, capabilities=[])["nodes"]

    assert node["logs"]["etcd"] == ["cat", "/var/log/koalesce/etcd.log"]
    assert "/var/log/pods/kube-system_kube-apiserver-cp_*/kube-apiserver" in node["logs"]["kube-apiserver"][2]
    assert set(node["follows"]) == set(COMPONENTS[1:])


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Where the logs of a pod's containers lie."""
    folder = tmp_path / "kube-system_etcd-cp_0123" / "etcd"
    folder.mkdir(parents=True)
    return folder


class Followed:
    """What follows the logs, in a process of its own."""

    def __init__(self, folder: Path, lines: int) -> None:
        *words, script, name = static_pods.follow_command("etcd", "cp")
        command = [*words, script.replace("/var/log/pods", str(folder)), name, str(lines)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def line(self) -> str:
        """The next line, at most a minute from now."""
        assert self.process.stdout is not None
        timer = threading.Timer(60, self.kill)
        timer.start()
        try:
            return self.process.stdout.readline().rstrip("\n")
        finally:
            timer.cancel()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        self.kill()
        self.process.communicate()


def add(file: Path, *texts: str) -> None:
    with file.open("a") as log:
        log.write("".join(f"2026-01-02T03:04:05.678901234Z stderr F {text}\n" for text in texts))


def test_logs_are_printed_in_the_order_of_their_containers(tmp_path: Path, written: Path) -> None:
    for number in (0, 10, 2, 9):
        add(written / f"{number}.log", f"container {number}")
    words = [word.replace("/var/log/pods", str(tmp_path)) for word in static_pods.log_command("etcd", "cp")]

    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout

    assert printed.splitlines() == [f"container {number}" for number in (0, 2, 9, 10)]


def test_following_begins_in_the_order_of_containers(tmp_path: Path, written: Path) -> None:
    for number in (10, 2):
        add(written / f"{number}.log", f"container {number}")
    followed = Followed(tmp_path, 1)
    try:
        assert followed.line() == "container 10"
    finally:
        followed.end()


def test_following_goes_on_behind_what_is_known_and_with_containers_that_come_later(
    tmp_path: Path, written: Path
) -> None:
    add(written / "0.log", "a", "b")
    add(written / "1.log", "c", "d  e")
    followed = Followed(tmp_path, 3)
    try:
        assert followed.line() == "d  e"
        add(written / "1.log", "f")
        assert followed.line() == "f"
        add(written / "2.log", "g")
        assert followed.line() == "g"
        (written / "0.log").unlink()
        add(written / "2.log", "h")
        assert followed.line() == "h"
    finally:
        followed.end()


def test_a_pod_that_is_not_there_yet_is_followed_too(tmp_path: Path) -> None:
    followed = Followed(tmp_path, 0)
    try:
        later = tmp_path / "kube-system_etcd-cp_4567" / "etcd"
        later.mkdir(parents=True)
        add(later / "0.log", "a")
        assert followed.line() == "a"
    finally:
        followed.end()


class Node:
    """A node whose root is a folder."""

    pid = 0
    name = "cp"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    folder = tmp_path / "manifests"
    folder.mkdir()
    monkeypatch.setattr(static_pods, "_file", lambda node, component: folder / f"{component}.yaml")
    return Node()


def test_a_manifest_that_is_withdrawn_is_no_file_that_a_kubelet_reads(tmp_path: Path, node: Any) -> None:
    static_pods.give(node, pod("etcd"))
    seen = lambda: [file.name for file in (tmp_path / "manifests").glob("[!.]*")]  # noqa: E731
    assert seen() == ["etcd.yaml"]

    StaticPod(node, "etcd").hold()
    assert (seen(), static_pods.given(node)) == ([], ["etcd"])
    StaticPod(node, "etcd").release()

    assert (seen(), static_pods.given(node)) == (["etcd.yaml"], ["etcd"])


GROUP = f"pod{'0b' * 16}"


def test_its_pod_is_over_once_nothing_of_it_runs_any_more(monkeypatch: pytest.MonkeyPatch, node: Any) -> None:
    """Also what holds the pod's namespaces: only a kubelet that knows of the end ends that."""
    groups = {"7": f"12:pids:/nodes/cp/kubepods/burstable/{GROUP}/c1\n", "8": f"12:pids:/kubepods/{GROUP}/c2\n"}
    monkeypatch.setattr(static_pods, "_cgroups", lambda process: groups.get(process.name, ""))
    monkeypatch.setattr(Path, "glob", lambda path, pattern: [path / name for name in groups])
    monkeypatch.setattr(StaticPod, "pid", lambda pod: 7 if "7" in groups else 0)
    etcd = StaticPod(node, "etcd")

    assert (etcd.group(), etcd.is_over(GROUP)) == (GROUP, False)
    del groups["7"]
    assert (etcd.group(), etcd.is_over(GROUP)) == ("", False)
    del groups["8"]
    assert etcd.is_over(GROUP)


class Kubelet(StaticPod):
    """A static pod whose kubelet starts it again so often before it knows that the manifest is gone."""

    def __init__(self, node: Any, starts: int, *, knows: bool = True) -> None:
        super().__init__(node, "etcd")
        self.starts, self.knows, self.running, self.looks = starts, knows, True, 0
        self.held = False

    def group(self) -> str:
        return GROUP

    def pid(self) -> int:
        return 7 if self.running else 0

    def is_over(self, group: str) -> bool:
        self.looks += 1
        if self.starts and self.looks > 3:  # only a while later
            self.starts, self.looks, self.running = self.starts - 1, 0, True
        return self.knows and not self.starts and self.looks > 3

    def hold(self) -> None:
        self.held = True

    def signal(self, number: signal.Signals) -> None:
        self.running = False


@pytest.mark.parametrize("starts", [0, 2])
def test_it_is_stopped_once_its_kubelet_knows(monkeypatch: pytest.MonkeyPatch, node: Any, starts: int) -> None:
    pod = Kubelet(node, starts)
    monkeypatch.setattr(components, "_found", lambda node, component: pod)
    monkeypatch.setattr(node, "services", lambda: {"kubelet": 5}, raising=False)

    components.stop(node, "etcd")

    assert (pod.held, pod.running, pod.starts) == (True, False, 0)
    assert pod.looks > 3


def test_a_pod_that_is_started_for_ever_is_an_error(monkeypatch: pytest.MonkeyPatch, node: Any) -> None:
    pod = Kubelet(node, 100)
    monkeypatch.setattr(components, "_found", lambda node, component: pod)
    monkeypatch.setattr(node, "services", lambda: {"kubelet": 5}, raising=False)

    with pytest.raises(ClusterError, match="started again and again"):
        components.stop(node, "etcd")


def test_without_a_kubelet_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch, node: Any) -> None:
    pod = Kubelet(node, 0, knows=False)
    monkeypatch.setattr(components, "_found", lambda node, component: pod)
    monkeypatch.setattr(components, "_UNNOTICED", 0.0)
    monkeypatch.setattr(node, "services", lambda: {"kubelet": 0}, raising=False)

    components.stop(node, "etcd")

    assert not pod.running

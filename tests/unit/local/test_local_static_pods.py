"""Components of a control plane as static pods: their manifests, and what faults do to them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from koalesce.local import control_plane, static_pods
from koalesce.local.outputs import outputs
from koalesce.local.request import LocalRequest, from_mapping
from koalesce.local.static_pods import StaticPod

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

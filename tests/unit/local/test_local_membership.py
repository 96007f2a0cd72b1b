"""Nodes that join and leave, with an API server that is a fake; the real thing is docs/examples/nodes.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from koalesce.errors import ClusterError
from koalesce.local import kubelet, membership
from koalesce.local.bringup import Bringup
from koalesce.local.request import from_mapping

NODES = [
    {"name": "cp", "role": "control-plane"},
    {"name": "w1", "role": "worker"},
    {"name": "late", "role": "worker", "labels": {"disk": "hdd"}, "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}], "spare": True},
]  # fmt: skip


@dataclass
class Api:
    """Node objects by name, as the API server keeps them; `done` is what was asked of it."""

    nodes: dict[str, dict[str, Any]]
    done: list[str] = field(default_factory=list)

    def get(self, path: str) -> dict[str, Any]:
        return self.nodes[path.rpartition("/")[2]]

    def create(self, path: str, value: dict[str, Any], *, keep_trying: Callable[[], None]) -> dict[str, Any]:
        self.done.append(f"create {value['metadata']['name']}")
        return self.nodes.setdefault(value["metadata"]["name"], value)

    def request(self, method: str, path: str) -> tuple[int, bytes]:
        name = path.rpartition("/")[2]
        there = self.nodes.pop(name, None) if method == "DELETE" else self.nodes.get(name)
        return (200, json.dumps(there).encode()) if there is not None else (404, b"gone")

    def close(self) -> None:
        pass


class Deadline:
    def until(self, what: str, condition: Callable[[], bool], *, why: Callable[[], str] = str) -> None:
        if not condition():
            raise ClusterError(f"{what}: {why()}")

    def pause(self, what: str, *, why: Callable[[], str] = str) -> None:
        pass


@dataclass
class World:
    """A cluster whose nodes are names."""

    found: Api
    request: Any
    nodes: dict[str, str] = field(default_factory=lambda: {"cp": "", "w1": ""})
    gone: set[str] = field(default_factory=set)

    def api(self) -> Api:
        return self.found

    def deadline(self, seconds: float) -> Deadline:
        return Deadline()

    def cut_power(self, name: str) -> None:
        self.found.done.append(f"off {name}")
        self.gone.add(name)

    def boot(self, name: str) -> None:
        self.found.done.append(f"on {name}")
        self.nodes[name] = ""
        self.gone.discard(name)


def node(name: str, *taints: str, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": "u1", "resourceVersion": "7", "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {"podCIDR": "10.244.1.0/24", "taints": [{"key": key, "effect": "NoSchedule"} for key in taints]},
        "status": {"addresses": [{"type": "InternalIP", "address": "198.18.0.11"}], "conditions": [{"type": "Ready", "status": ready, "message": "no network"}]},
    }  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    request = {"name": "c", "kubernetes_version": "1.37.2", "nodes": NODES, "state_dir": str(tmp_path)}
    return World(Api({"cp": node("cp"), "w1": node("w1")}), from_mapping(request))


def bringup(world: World) -> Bringup:
    return cast("Bringup", world)


def test_a_spare_node_has_its_share_of_the_plan_and_is_not_made_with_the_cluster(world: World) -> None:
    assert [each.name for each in world.request.first_nodes] == ["cp", "w1"]
    assert [each.pod_cidrs for each in world.request.nodes] == [
        ("10.244.0.0/24",), ("10.244.1.0/24",), ("10.244.2.0/24",)
    ]  # fmt: skip


def test_a_new_node_is_known_before_it_runs(world: World) -> None:
    membership.check_new(bringup(world), "late")
    membership.join(bringup(world), "late", world.boot)

    made = world.found.nodes["late"]
    assert world.found.done == ["create late", "on late"]
    assert (made["spec"]["podCIDR"], made["metadata"]["labels"]["disk"]) == ("10.244.2.0/24", "hdd")
    assert made["spec"]["taints"] == [{"key": "a", "value": "b", "effect": "NoSchedule"}]
    assert "uid" not in made["metadata"]


def test_a_node_that_left_comes_back_as_it_was_but_for_what_its_kubelet_says(world: World) -> None:
    before = node("w1", "dedicated", "node.kubernetes.io/unreachable")
    world.found.nodes["w1"] = before

    membership.leave(bringup(world), "w1")
    assert "w1" not in world.found.nodes
    membership.join(bringup(world), "w1", world.boot, before)

    assert world.found.done == ["off w1", "create w1", "on w1"]
    assert world.found.nodes["w1"] == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "w1", "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {"podCIDR": "10.244.1.0/24", "taints": [{"key": "dedicated", "effect": "NoSchedule"}]},
        "status": {"addresses": [{"type": "InternalIP", "address": "198.18.0.11"}], **kubelet.UNTOLD},
    }


def test_what_can_not_move_is_refused(world: World) -> None:
    with pytest.raises(ClusterError, match="w1 is part of the cluster already"):
        membership.check_new(bringup(world), "w1")
    with pytest.raises(ClusterError, match="there is no node x; there are: cp, w1, late"):
        membership.check_new(bringup(world), "x")
    with pytest.raises(ClusterError, match="cp runs a control plane: it can't be removed"):
        membership.check_leaving(bringup(world), "cp")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (node("w1", ready="False"), "no network"),
        (node("w1", "node.kubernetes.io/not-ready"), "it has the taint node.kubernetes.io/not-ready"),
    ],
)
def test_a_node_is_back_once_it_takes_pods(world: World, there: dict[str, Any], said: str) -> None:
    membership.await_ready(bringup(world), "w1")

    world.found.nodes["w1"] = there
    with pytest.raises(ClusterError, match=said):
        membership.await_ready(bringup(world), "w1")

"""What a new cluster is given of CoreDNS before its controllers are up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from koalesce.errors import ClusterError
from koalesce.local import addons
from koalesce.local.api import Api, Deadline
from koalesce.local.first_dns import FirstDns
from koalesce.local.request import from_mapping

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
NODE = "/api/v1/nodes/cp"
SLICES = addons.ENDPOINTS.partition("?")[0]
ADDRESS = "10.244.0.2"


class Server(Api):
    """An API server in memory, whose one node runs each pod once it has been asked for it often enough."""

    def __init__(self, *, looks: int = 2, then: int = 2, **deployment: Any) -> None:
        self.looks, self.then = looks, then
        self.slices: list[Mapping[str, Any]] = []
        self.objects: dict[str, dict[str, Any]] = {NODE: {"kind": "Node"}}
        for path, document in addons.coredns("dns:1", "10.96.0.10"):
            self.objects[f"{path}/{document['metadata']['name']}"] = named(document, "u0")
        self.objects[addons.DEPLOYMENT] |= deployment
        self.made: list[dict[str, Any]] = []

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        if method == "POST":
            return 201, json.dumps(self.create_object(path, body)).encode()
        if path == addons.ENDPOINTS:
            return 200, json.dumps({"items": self.slices}).encode()
        if path not in self.objects:
            return 404, b'{"kind": "Status", "status": "Failure", "code": 404}'
        self.run(path)
        return 200, json.dumps(self.objects[path]).encode()

    def create_object(self, path: str, body: Any) -> dict[str, Any]:
        prefix = body["metadata"].get("generateName", "")
        made = named(body, f"u{len(self.made) + 1}", body["metadata"].get("name") or f"{prefix}{len(self.made)}")
        self.made.append(made)
        self.objects[f"{path}/{made['metadata']['name']}"] = made
        return made

    def run(self, path: str) -> None:
        """What kubelets do, whenever somebody looks."""
        found = self.objects[path]
        if found["kind"] in ("Node", "Pod"):
            self.looks -= 1
            if self.looks <= 0:
                found["status"] = {**READY, "podIP": ADDRESS}
                self.looks = self.then


def named(document: Mapping[str, Any], uid: str, name: str = "") -> dict[str, Any]:
    metadata = document["metadata"]
    return {**document, "metadata": {**metadata, "name": name or metadata["name"], "uid": uid}}


def give(server: Server, *, leads: bool = True, seconds: float = 60, **changes: Any) -> list[str]:
    """Have it given; returns what became of the way to the API server, and what had been made by then."""
    ways: list[str] = []

    def open_way(opened: bool) -> None:
        ways.append(f"{'open' if opened else 'closed'} after {len(server.made)}")

    nodes = [{"name": "cp", "role": "control-plane", **changes.pop("control", {})}]
    basis = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "nodes": nodes}
    FirstDns(
        request=from_mapping({**basis, **changes}),
        api=server,
        deadline=Deadline(seconds, lambda: None),
        open_way=open_way,
        leads=lambda: leads,
        said_by=lambda name: f"{name} said last: nothing",
    ).give()
    return ways


def test_the_endpoints_are_those_that_a_controller_would_make_of_a_ready_pod() -> None:
    server = Server()

    ways = give(server)

    assert ways == ["open after 0", "closed after 3"]
    replica_set, pod, endpoints = server.made
    assert [each["kind"] for each in server.made] == ["ReplicaSet", "Pod", "EndpointSlice"]
    (endpoint,) = endpoints["endpoints"]
    assert endpoint["addresses"] == [ADDRESS]
    assert endpoint["nodeName"] == pod["spec"]["nodeName"] == "cp"
    assert endpoint["targetRef"] == {"kind": "Pod", **{k: pod["metadata"][k] for k in ("name", "namespace", "uid")}}
    assert endpoints["ports"] == [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
    ]
    labels = endpoints["metadata"]["labels"]
    assert labels["kubernetes.io/service-name"] == "kube-dns"
    assert labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert labels["k8s-app"] == "kube-dns"  # as a controller copies a Service's
    assert endpoints["metadata"]["ownerReferences"][0]["kind"] == "Service"
    assert replica_set["metadata"]["uid"] == pod["metadata"]["ownerReferences"][0]["uid"]


def test_controllers_that_were_quicker_are_left_alone() -> None:
    before = Server(status={"replicas": 1})
    between = Server()
    between.slices = [{"metadata": {"name": "kube-dns-abcde"}}]

    give(before)
    give(between)

    assert before.made == []
    assert [each["kind"] for each in between.made] == ["ReplicaSet", "Pod"]


@pytest.mark.parametrize(
    "changes",
    [
        {"kube_proxy": "none"},
        {"control": {"taints": [{"key": "only", "value": "me", "effect": "NoSchedule"}]}},
    ],
    ids=["no proxy", "a taint"],
)
def test_nothing_is_given_where_its_pod_may_not_run(changes: dict[str, Any]) -> None:
    server = Server()

    ways = give(server, **changes)

    assert ways == server.made == []


def test_a_pod_that_has_gone_has_no_endpoints() -> None:
    class Evicting(Server):
        def create_object(self, path: str, body: Any) -> dict[str, Any]:
            made = super().create_object(path, body)
            if made["kind"] == "Pod":
                del self.objects[f"{path}/{made['metadata']['name']}"]
            return made

    server = Evicting()

    give(server)

    assert [each["kind"] for each in server.made] == ["ReplicaSet", "Pod"]


@pytest.mark.parametrize(
    ("looks", "leads", "message"),
    [
        (1000, True, "in vain for the first node to be Ready\nkubelet said last"),
        (1, False, "in vain for kube-proxy to lead to the API server\nkube-proxy said last"),
    ],
)
def test_who_waits_in_vain_is_told_for_what(looks: int, leads: bool, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        give(Server(looks=looks, then=1), leads=leads, seconds=0)

"""Port-forwards as steps: which pod they lead to, and how they went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Errored, Failed, Passed
from koalesce.steps.port_forward import Forwarding, PortForward
from tests.fakes import FakeCluster, context, made, running_pod

READY = {"type": "Ready", "status": "True"}


def ready_pod(name: str, **labels: str) -> dict[str, Any]:
    pod = running_pod(name, **labels)
    pod["status"]["conditions"] = [READY]
    return pod


@dataclass
class FakeForward:
    pod: str
    namespace: str
    remote: int
    port: int = 40000
    connections: int = 2
    problems: list[str] = field(default_factory=list)
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster(running_pod("web-0", app="web"), ready_pod("web-2", app="web"), ready_pod("web-1", app="web"))
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    cluster.add(made("Service", "web", namespace="test-ns", spec={"selector": {"app": "web"}, "ports": ports}))
    cluster.add(made("Service", "bare", namespace="test-ns", spec={"ports": ports}))
    cluster.add(made("Service", "idle", namespace="test-ns", spec={"selector": {"app": "idle"}, "ports": ports}))
    selector = {"matchLabels": {"app": "web"}}
    cluster.add(made("Deployment", "web", api="apps/v1", namespace="test-ns", spec={"selector": selector}))
    cluster.kube.forward = lambda pod, *, namespace, port, local: FakeForward(pod, namespace, port, local or 40000)  # type: ignore[attr-defined]  # only these tests forward
    return cluster


def start(cluster: FakeCluster, **fields: Any) -> Any:
    return PortForward.model_validate(fields).start(context(cluster))


@pytest.mark.parametrize(
    ("fields", "pod", "remote"),
    [
        ({"pod": "web-0", "port": 8081}, "web-0", 8081),
        ({"pod": "web-0", "port": "web"}, "web-0", 8080),
        ({"service": "web"}, "web-1", 8080),
        ({"service": "web", "port": "http"}, "web-1", 8080),
        ({"deployment": "web", "port": "web"}, "web-1", 8080),
    ],
)
def test_where_it_leads(cluster: FakeCluster, fields: dict[str, Any], pod: str, remote: int) -> None:
    found = start(cluster, **fields)

    assert isinstance(found, Forwarding)
    assert found.value == {
        "port": 40000, "address": "127.0.0.1:40000", "pod": pod, "namespace": "test-ns", "remotePort": remote,
    }  # fmt: skip


def test_a_local_port_of_ones_choice(cluster: FakeCluster) -> None:
    assert start(cluster, pod="web-0", port=80, localPort=5000).value["port"] == 5000


@pytest.mark.parametrize(
    ("fields", "outcome", "message"),
    [
        ({"pod": "nope", "port": 80}, Failed, "pod test-ns/nope does not exist"),
        ({"service": "idle"}, Failed, "service idle has no ready pod (0 match app=idle)"),
        ({"service": "bare"}, Errored, "service bare has no selector"),
        ({"service": "web", "port": 81}, Errored, "service web has no TCP port 81; its ports: http 80/TCP"),
        ({"pod": "web-0", "port": "grpc"}, Errored, 'pod web-0 has no port "grpc"'),
    ],
)
def test_where_it_cannot_lead(cluster: FakeCluster, fields: dict[str, Any], outcome: type, message: str) -> None:
    found = start(cluster, **fields)

    assert type(found) is outcome
    assert message in found.message


def test_how_it_went() -> None:
    good, bad = FakeForward("web-0", "one", 80), FakeForward("web-0", "one", 80, problems=["nothing listens there"])

    passed, failed = Forwarding(good).stop(), Forwarding(bad).stop()  # type: ignore[arg-type]  # fakes

    assert isinstance(passed, Passed)
    assert (passed.message, passed.value["connections"]) == ("2 connections", 2)
    assert failed == Failed("nothing listens there", expected="connections that hold", actual="broken ones", final=True)
    assert (good.closed, bad.closed) == (True, True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pod": "a"}, "port is missing"),
        (
            {"pod": "a", "service": "b", "port": 80},
            "say exactly one of pod, service, deployment; found pod and service",
        ),
        ({"port": 80}, "none is there"),
        ({"pod": "a", "port": 0}, "port"),
        ({"pod": "a", "port": 80, "localPort": 70000}, "localPort"),
    ],
)
def test_what_is_wrong_before_anything_runs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PortForward.model_validate(fields)

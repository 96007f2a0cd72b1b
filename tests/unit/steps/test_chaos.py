"""Chaos as a step: what it asks of the provider, and what becomes of that."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.cluster import Fault
from koalesce.steps.base import Errored, Failed, Passed
from koalesce.steps.chaos import Chaos, Disturbing
from tests.fakes import FakeCluster, FakeFaults, FakeNode, context, running_pod


@pytest.fixture
def cluster() -> FakeCluster:
    nodes = [FakeNode("control-plane", role="control-plane"), FakeNode("worker-1"), FakeNode("worker-2")]
    cluster = FakeCluster(
        running_pod("web-0", node="worker-1", app="web"), running_pod("web-1", node="worker-2", app="web"),
        nodes=nodes, fixtures=[FakeNode("c1")],
    )  # fmt: skip
    cluster.faults = FakeFaults()
    return cluster


def chaos(**fields: Any) -> Chaos:
    return Chaos.model_validate(fields)


def services(cluster: FakeCluster) -> FakeFaults:
    assert isinstance(cluster.faults, FakeFaults)
    return cluster.faults


KUBELET = {"node": "worker-1", "component": "kubelet"}


@pytest.mark.parametrize(
    ("fields", "fault", "title"),
    [
        (
            {"stop": KUBELET},
            Fault(kind="stop-component", machines=("worker-1",), component="kubelet"),
            "stop kubelet on node worker-1",
        ),
        (
            {"fill_disk": {"nodes": "workers", "path": "/mnt/data"}},
            Fault(kind="fill-disk", machines=("worker-1", "worker-2"), path="/mnt/data"),
            "fill /mnt/data of nodes workers",
        ),
        (
            {"kill": {"nodes": ["worker-1", "worker-2"]}},
            Fault(kind="kill-node", machines=("worker-1", "worker-2")),
            "kill nodes worker-1, worker-2",
        ),
        (
            {"kill": {"nodes": "controlPlane", "component": "etcd"}},
            Fault(kind="kill-component", machines=("control-plane",), component="etcd"),
            "kill etcd on nodes controlPlane",
        ),
        (
            {"restart": {"node": "worker-1"}},
            Fault(kind="restart-node", machines=("worker-1",)),
            "restart node worker-1",
        ),
        (
            {"pause": {"pods": "app=web"}},
            Fault(kind="pause-container", containers=(("worker-1", "id-web-0"), ("worker-2", "id-web-1"))),
            "pause pods app=web",
        ),
        (
            {"kill": {"pod": "web-0", "container": "main"}},
            Fault(kind="kill-container", containers=(("worker-1", "id-web-0"),)),
            "kill pod web-0",
        ),
        (
            {"restart": {"pods": "app=web"}},
            Fault(kind="restart-container", containers=(("worker-1", "id-web-0"), ("worker-2", "id-web-1"))),
            "restart pods app=web",
        ),
        (
            {"kill": {"pod": "web-1", "whole": True}},
            Fault(kind="kill-pod", pods=(("worker-2", "test-ns", "web-1"),)),
            "kill pod web-1 as a whole",
        ),
        (
            {"pause": {"pod": "web-0", "whole": True}},
            Fault(kind="pause-pod", pods=(("worker-1", "test-ns", "web-0"),)),
            "pause pod web-0 as a whole",
        ),
        (
            {"restart": {"nodes": "workers", "process": "bird"}},
            Fault(kind="restart-process", machines=("worker-1", "worker-2"), process="bird"),
            "restart bird on nodes workers",
        ),
        (
            {"linkDown": {"node": "worker-1", "fixtures": "all"}},
            Fault(kind="link-down", machines=("worker-1", "c1")),
            "pull the cable of node worker-1 and fixtures all",
        ),
        (
            {"partition": {"from": {"nodes": "workers"}, "to": {"fixture": "c1"}, "oneWay": True}},
            Fault(kind="partition", machines=("worker-1", "worker-2"), others=("c1",), one_way=True),
            "cut nodes workers short of fixture c1",
        ),
        (
            {"kill": {"nodes": "workers", "process": "bird"}},
            Fault(kind="kill-process", machines=("worker-1", "worker-2"), process="bird"),
            "kill bird on nodes workers",
        ),
        (
            {"pause": {"node": "worker-1", "process": "bird"}},
            Fault(kind="pause-process", machines=("worker-1",), process="bird"),
            "pause bird on node worker-1",
        ),
        (
            {"degrade": {"node": "worker-1", "fixture": "c1", "latency": "50ms", "loss": "2.5%"}},
            Fault(kind="degrade-link", machines=("worker-1", "c1"), link={"latency": 0.05, "loss": 2.5}),
            "degrade the link of node worker-1 and fixture c1: latency 50ms, loss 2.5%",
        ),
        (
            {"stop": {"fixture": "c1", "component": "etcd"}},
            Fault(kind="stop-component", machines=("c1",), component="etcd"),
            "stop etcd on fixture c1",
        ),
        (
            {"restart": {"fixtures": "all", "component": "etcd"}},
            Fault(kind="restart-component", machines=("c1",), component="etcd"),
            "restart etcd on fixtures all",
        ),
        (
            {"kill": {"fixtures": ["c1"], "process": "gobgpd"}},
            Fault(kind="kill-process", machines=("c1",), process="gobgpd"),
            "kill gobgpd on fixtures c1",
        ),
        (
            {"pause": {"fixture": "c1", "component": "etcd"}},
            Fault(kind="pause-component", machines=("c1",), component="etcd"),
            "pause etcd on fixture c1",
        ),
        (
            {"remove": {"node": "worker-1", "chain": "KUBE-SERVICES", "table": "nat"}},
            Fault(kind="remove-state", machines=("worker-1",), state={"chain": "KUBE-SERVICES", "table": "nat"}),
            "remove chain KUBE-SERVICES, table nat from node worker-1",
        ),
    ],
)
def test_it_asks_the_provider(cluster: FakeCluster, fields: dict[str, Any], fault: Fault, title: str) -> None:
    step = chaos(**fields)

    running = step.start(context(cluster))

    assert isinstance(running, Disturbing)
    assert services(cluster).begun == [fault]
    assert step.title() == title
    assert running.stop() == Passed("undone")
    assert services(cluster).log == ["begin", "undo"]


def test_a_pod_that_is_not_there_may_yet_come(cluster: FakeCluster) -> None:
    outcome = chaos(kill={"pod": "late"}).start(context(cluster))

    assert outcome == Failed("pod test-ns/late does not exist", actual="missing")
    assert services(cluster).log == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"kill": {"node": "worker-9"}},
            "there is no node worker-9; the cluster has control-plane, worker-1, worker-2",
        ),
        ({"linkDown": {"fixture": "c2"}}, "there is no fixture c2; there are: c1"),
        ({"stop": {"fixture": "c2", "component": "etcd"}}, "there is no fixture c2; there are: c1"),
        (
            {"partition": {"from": {"nodes": "all"}, "to": {"node": "worker-1"}}},
            "worker-1 can't be cut off from itself",
        ),
    ],
)
def test_what_is_not_there_for_good_is_an_error(cluster: FakeCluster, fields: dict[str, Any], problem: str) -> None:
    assert chaos(**fields).start(context(cluster)) == Errored(problem, final=True)


def test_a_provider_without_the_service_is_an_error_that_says_so(cluster: FakeCluster) -> None:
    cluster.faults = FakeFaults(kinds=frozenset({"link-down"}))
    expected = Errored("the provider fake can't do this (stop-component)", final=True)
    assert chaos(stop=KUBELET).start(context(cluster)) == expected

    cluster.faults = None
    assert chaos(stop=KUBELET).start(context(cluster)) == expected


def test_a_refusal_of_the_provider_is_an_error_for_good(cluster: FakeCluster) -> None:
    cluster.faults = FakeFaults(refusal="worker-1 is paused")

    assert chaos(stop=KUBELET).start(context(cluster)) == Errored("worker-1 is paused", final=True)


def test_what_can_not_be_undone_is_an_error(cluster: FakeCluster) -> None:
    cluster.faults = FakeFaults(undo_error="kubelet doesn't stay up")
    running = chaos(stop=KUBELET).start(context(cluster))
    assert isinstance(running, Disturbing)

    assert running.stop() == Errored("could not be undone: kubelet doesn't stay up", final=True)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "say exactly one of stop, kill, pause, restart, linkDown, partition"),
        ({"stop": KUBELET, "restart": KUBELET}, "say exactly one of"),
        (
            {"stop": {"node": "a", "nodes": "all", "component": "etcd"}},
            "say exactly one of node, nodes, fixture and fix",
        ),
        (
            {"stop": {"node": "a", "fixture": "b", "component": "etcd"}},
            "say exactly one of node, nodes, fixture and fix",
        ),
        ({"kill": {"fixture": "c1"}}, "say which component of them"),
        ({"restart": {"fixtures": "all"}}, "say which component of them"),
        ({"kill": {"pods": "app=web", "component": "etcd"}}, "component belongs to nodes"),
        ({"restart": {"node": "worker-1", "whole": True}}, "whole is said of pods"),
        ({"kill": {"pod": "web-0", "container": "main", "whole": True}}, "say container or whole, not both"),
        ({"linkDown": {}}, "say which"),
        ({"stop": KUBELET, "for": "1s", "id": "a"}, "nothing to stop"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        chaos(**fields)


@pytest.mark.parametrize(
    ("fields", "ongoing"),
    [
        ({"stop": KUBELET}, "stop kubelet on node worker-1"),
        ({"stop": KUBELET, "id": "outage"}, "outage"),
        ({"stop": KUBELET, "for": "2s"}, ""),
        ({"restart": KUBELET}, ""),
        ({"restart": {"pod": "web-0"}}, ""),
        ({"kill": {"pod": "web-0", "whole": True}}, ""),
        ({"pause": {"pod": "web-0", "whole": True}}, "pause pod web-0 as a whole"),
        ({"kill": {"node": "worker-1"}}, "kill node worker-1"),
    ],
)
def test_a_fault_that_outlasts_its_step_has_a_name_in_reports(fields: dict[str, Any], ongoing: str) -> None:
    assert chaos(**fields).ongoing() == ongoing

"""What administrators do to nodes, what of it is put back, and which pods are sent away."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.kube import ApiError
from koalesce.kube.errors import Cause
from koalesce.steps.base import Errored, Failed, Passed, StepContext
from tests.fakes import FakeCluster, FakeFaults, FakeNode, api_error, context, made, running_pod, step


def node(name: str = "worker-1", **spec: Any) -> dict[str, Any]:
    return made("Node", name, labels={"zone": "a"}, spec=spec)


def pod(name: str, owner: str = "ReplicaSet", **more: Any) -> dict[str, Any]:
    found = running_pod(name, **more)
    if owner:
        found["metadata"]["ownerReferences"] = [{"kind": owner, "name": "o", "uid": "u", "controller": True}]
    return found


def budget(name: str, **status: int) -> dict[str, Any]:
    return made(
        "PodDisruptionBudget", name, api="policy/v1", namespace="test-ns",
        spec={"selector": {"matchLabels": {"app": "web"}}}, status=status,
    )  # fmt: skip


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(node(), node("worker-2"), nodes=[FakeNode("worker-1"), FakeNode("worker-2")])


@pytest.fixture
def given(cluster: FakeCluster) -> StepContext:
    return context(cluster, disruptive=True)


def taints(cluster: FakeCluster) -> list[tuple[str, str, str]]:
    found = cluster.kube.get(cluster.kube.resource("nodes"), "worker-1", None) or {}
    return [(each["key"], each.get("value", ""), each["effect"]) for each in found["spec"].get("taints") or ()]


def spec_of(cluster: FakeCluster, name: str = "worker-1") -> dict[str, Any]:
    found = cluster.kube.get(cluster.kube.resource("nodes"), name, None)
    assert found is not None
    return found["spec"]


def test_nodes_are_cordoned_and_at_the_end_as_before(cluster: FakeCluster, given: StepContext) -> None:
    outcome = step("nodes: {cordon: {nodes: [worker-1, worker-2]}}").attempt(given)

    assert outcome == Passed("cordon: worker-1, worker-2 cordoned", {"nodes": ["worker-1", "worker-2"]})
    assert [spec_of(cluster, name).get("unschedulable") for name in ("worker-1", "worker-2")] == [True, True]
    cluster.scope.unwind()
    assert [spec_of(cluster, name).get("unschedulable") for name in ("worker-1", "worker-2")] == [None, None]


def test_a_node_that_was_cordoned_before_is_so_again(cluster: FakeCluster, given: StepContext) -> None:
    cluster.add(node(unschedulable=True))

    assert isinstance(step("nodes: {uncordon: {node: worker-1}}").attempt(given), Passed)
    assert spec_of(cluster).get("unschedulable") is None
    cluster.scope.unwind()
    assert spec_of(cluster).get("unschedulable") is True


def test_labels_are_set_removed_and_put_back(cluster: FakeCluster, given: StepContext) -> None:
    label = "nodes: {label: {node: worker-1, labels: {zone: null, tier: edge}}}"

    assert isinstance(step(label).attempt(given), Passed)
    resource = cluster.kube.resource("nodes")
    assert (cluster.kube.get(resource, "worker-1", None) or {})["metadata"]["labels"] == {"tier": "edge"}
    cluster.scope.unwind()
    assert (cluster.kube.get(resource, "worker-1", None) or {})["metadata"]["labels"] == {"zone": "a"}


def test_only_the_taints_that_a_test_has_set_go_at_its_end(cluster: FakeCluster, given: StepContext) -> None:
    cluster.add(node(taints=[{"key": "a", "value": "1", "effect": "NoSchedule"}, {"key": "b", "effect": "NoExecute"}]))
    outcome = step(
        "nodes: {taint: {node: worker-1, taints: [{key: a, value: '2', effect: NoSchedule}, {key: c, effect: NoSchedule}]}}"
    ).attempt(given)

    assert isinstance(outcome, Passed)
    assert sorted(taints(cluster)) == [("a", "2", "NoSchedule"), ("b", "", "NoExecute"), ("c", "", "NoSchedule")]
    now = spec_of(cluster)["taints"]
    cluster.add(node(taints=[*now, {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]))  # a controller's
    cluster.scope.unwind()
    assert sorted(taints(cluster)) == [
        ("a", "1", "NoSchedule"), ("b", "", "NoExecute"), ("node.kubernetes.io/unreachable", "", "NoExecute"),
    ]  # fmt: skip


def test_a_taint_is_removed_with_any_effect_and_comes_back(cluster: FakeCluster, given: StepContext) -> None:
    both = [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]
    cluster.add(node(taints=both))

    assert isinstance(step("nodes: {untaint: {node: worker-1, taints: [{key: a}]}}").attempt(given), Passed)
    assert taints(cluster) == []
    cluster.scope.unwind()
    assert sorted(taints(cluster)) == [("a", "", "NoExecute"), ("a", "", "NoSchedule")]


def test_a_taint_that_is_not_there_cannot_go(cluster: FakeCluster, given: StepContext) -> None:
    untaint = step("nodes: {untaint: {node: worker-1, taints: [{key: a, effect: NoSchedule}]}}")

    assert untaint.attempt(given) == Failed(
        "node/worker-1 has no taint a:NoSchedule", "taint a:NoSchedule", "missing", final=True
    )
    assert isinstance(untaint.attempt(context(cluster, disruptive=True, may_not_exist=True)), Passed)


def test_pods_of_controllers_are_evicted_and_waited_for(cluster: FakeCluster, given: StepContext) -> None:
    mirror = pod("static", "")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    others = [pod("agent", "DaemonSet"), mirror, pod("web-1", node="worker-2"), pod("ended", "Job")]
    cluster.add(pod("web-0"), *others)
    drain = step("nodes: {drain: {node: worker-1, gracePeriod: 0}}")

    first, second = drain.attempt(given), drain.attempt(given)

    assert isinstance(first, Failed)
    assert "still ending" in first.message
    assert second == Passed("drained worker-1: 2 evicted", {"nodes": ["worker-1"], "evicted": 2})
    evicted = [what for verb, what in cluster.kube.requests if verb == "evict"]
    assert [(each["pod"], each["gracePeriodSeconds"]) for each in evicted] == [("ended", 0), ("web-0", 0)]
    assert spec_of(cluster)["unschedulable"] is True


def test_a_pod_that_may_not_go_is_named_with_its_budget(cluster: FakeCluster, given: StepContext) -> None:
    cluster.add(pod("web-0", app="web"), pod("free"))
    cluster.add(budget("web", disruptionsAllowed=0, currentHealthy=1, desiredHealthy=1))
    cluster.kube.fail("evict", api_error(404, "gone"), api_error(429, "Cannot evict pod", reason="TooManyRequests"))

    outcome = step("nodes: {drain: {node: worker-1}}").attempt(given)

    assert isinstance(outcome, Failed)
    assert outcome.message == (
        "pod test-ns/web-0 can't go: the disruption budget web needs 1 healthy pods and has 1 (and 1 more pod)"
    )
    assert not outcome.final


def test_a_pod_that_goes_with_its_namespace_is_waited_for(cluster: FakeCluster, given: StepContext) -> None:
    cluster.add(pod("web-0"))
    going = ApiError("is forbidden", status=403, reason="Forbidden", causes=[Cause("NamespaceTerminating", "", "")])
    cluster.kube.fail("evict", going)

    outcome = step("nodes: {drain: {node: worker-1}}").attempt(given)

    assert isinstance(outcome, Failed)
    assert (outcome.message, outcome.final) == ("pod test-ns/web-0 is still ending", False)


def test_a_pod_without_a_controller_is_not_lost_by_accident(cluster: FakeCluster, given: StepContext) -> None:
    cluster.add(pod("alone", ""), pod("web-0"))

    outcome = step("nodes: {drain: {node: worker-1}}").attempt(given)

    assert isinstance(outcome, Failed)
    assert "pod test-ns/alone belongs to no controller" in outcome.message
    assert [verb for verb, _ in cluster.kube.requests if verb == "evict"] == []
    assert isinstance(step("nodes: {drain: {node: worker-1, force: true}}").attempt(given), Failed)
    assert len([verb for verb, _ in cluster.kube.requests if verb == "evict"]) == 2


def test_a_node_that_has_changed_meanwhile_is_looked_at_again(cluster: FakeCluster, given: StepContext) -> None:
    cluster.kube.fail("patch", api_error(409, "the object has been modified", reason="Conflict"))
    taint = step("nodes: {taint: {node: worker-1, taints: [{key: a, effect: NoSchedule}]}}")

    assert isinstance(taint.attempt(given), Failed)
    assert isinstance(taint.attempt(given), Passed)
    cluster.scope.unwind()
    assert taints(cluster) == []


def test_it_takes_a_test_that_is_disruptive(cluster: FakeCluster) -> None:
    outcome = step("nodes: {cordon: {node: worker-1}}").attempt(context(cluster))

    assert outcome == Errored("only a test that says disruptive: true may do this", final=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "say exactly one of cordon, uncordon, drain, label, taint, untaint"),
        ("{cordon: {node: a}, drain: {node: a}}", "say exactly one of"),
        ("{cordon: {}}", "say exactly one of node and nodes"),
        ("{label: {node: a, labels: {}}}", "says nothing"),
        ("{taint: {node: a, taints: [{key: a, effect: Never}]}}", "NoSchedule"),
        ("{untaint: {node: a, taints: []}}", "at least 1 item"),
    ],
)
def test_what_makes_no_sense_is_invalid(text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        step(f"nodes: {text}")


@pytest.fixture
def moving() -> FakeCluster:
    """A cluster with a spare node, `late`, and a provider that moves nodes."""
    found = FakeCluster(
        node(), made("Node", "late", spec={}), nodes=[FakeNode("worker-1"), FakeNode("late", is_spare=True)]
    )
    found.faults = FakeFaults(kinds=frozenset({"add-node", "remove-node"}))
    return found


def say_ready(cluster: FakeCluster, name: str, **spec: Any) -> None:
    cluster.add(made("Node", name, spec=spec, status={"conditions": [{"type": "Ready", "status": "True"}]}))


def test_a_spare_node_joins_once_and_is_awaited_and_leaves_at_the_end(moving: FakeCluster) -> None:
    given, wanted = context(moving, disruptive=True), step("nodes: {add: {node: late}}")

    assert wanted.attempt(given) == Failed("node/late is not Ready: it has not said anything yet", "Ready", "not Ready")
    say_ready(moving, "late", taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    assert wanted.attempt(given) == Failed(
        "node/late still has the taint node.kubernetes.io/not-ready", "Ready", "not Ready"
    )
    say_ready(moving, "late")
    assert wanted.attempt(given) == Passed("add: late joined", {"nodes": ["late"]})

    assert isinstance(moving.faults, FakeFaults)
    assert [(each.kind, each.machines) for each in moving.faults.begun] == [("add-node", ("late",))]
    assert [each.name for each in moving.real().present] == ["worker-1", "late"]
    moving.scope.unwind()
    assert [each.name for each in moving.real().present] == ["worker-1"]
    assert moving.faults.log == ["begin", "undo"]


def test_a_node_that_was_removed_is_nobodys_target_until_it_is_back(moving: FakeCluster) -> None:
    outcome = step("nodes: {remove: {node: worker-1}}").attempt(context(moving, disruptive=True))
    later = step("nodes: {cordon: {node: worker-1}}").attempt(context(moving, disruptive=True))

    assert outcome == Passed("remove: worker-1 left", {"nodes": ["worker-1"]})
    assert later == Errored("node worker-1 isn't part of the cluster now", final=True)
    moving.scope.unwind()
    assert isinstance(step("nodes: {cordon: {node: worker-1}}").attempt(context(moving, disruptive=True)), Passed)


def test_a_node_that_was_removed_is_brought_back_by_an_add_and_not_once_more_at_the_end(moving: FakeCluster) -> None:
    assert isinstance(step("nodes: {remove: {node: worker-1}}").attempt(context(moving, disruptive=True)), Passed)
    say_ready(moving, "worker-1")
    outcome = step("nodes: {add: {node: worker-1}}").attempt(context(moving, disruptive=True))

    assert outcome == Passed("add: worker-1 joined", {"nodes": ["worker-1"]})
    assert isinstance(moving.faults, FakeFaults)
    assert moving.faults.log == ["begin", "undo"]
    assert [each.name for each in moving.real().present] == ["worker-1"]
    moving.scope.unwind()
    assert moving.faults.log == ["begin", "undo"]


def test_a_spare_node_joins_leaves_and_joins_again(moving: FakeCluster) -> None:
    say_ready(moving, "late")
    for verb in ("add", "remove", "add"):
        assert isinstance(step(f"nodes: {{{verb}: {{node: late}}}}").attempt(context(moving, disruptive=True)), Passed)

    assert isinstance(moving.faults, FakeFaults)
    assert moving.faults.log == ["begin", "undo", "begin"]
    moving.scope.unwind()
    assert moving.faults.log == ["begin", "undo", "begin", "undo"]
    assert moving.moved == {}


def test_a_node_that_cannot_come_back_is_an_error(moving: FakeCluster) -> None:
    moving.faults = FakeFaults(kinds=frozenset({"add-node", "remove-node"}), undo_error="it hangs")
    assert isinstance(step("nodes: {remove: {node: worker-1}}").attempt(context(moving, disruptive=True)), Passed)

    outcome = step("nodes: {add: {node: worker-1}}").attempt(context(moving, disruptive=True))

    assert outcome == Errored("it hangs", final=True)


def test_what_can_not_move_is_an_error(moving: FakeCluster) -> None:
    given = context(moving, disruptive=True)

    there = step("nodes: {add: {node: worker-1}}").attempt(given)
    moving.faults = FakeFaults(kinds=frozenset({"add-node"}), refusal="late is part of the cluster already")
    refused = step("nodes: {add: {nodes: all}}").attempt(context(moving, disruptive=True))
    moving.faults = None
    nobody = step("nodes: {remove: {node: worker-1}}").attempt(context(moving, disruptive=True))

    assert there == Errored("worker-1 is no node that is kept aside; there are: late", final=True)
    assert refused == Errored("late is part of the cluster already", final=True)
    assert nobody == Errored("the provider fake can't remove nodes", final=True)
    moving.scope.unwind()
    assert moving.moved == {}

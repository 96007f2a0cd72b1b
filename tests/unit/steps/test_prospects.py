"""What ends a wait before its time, and what must not."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.steps.base import Errored, Failed, Passed
from koalesce.steps.workloads.prospects import CRASHES, UNCHANGED
from tests.fakes import FakeCluster, context, made, step

NO_NODE = (
    "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. "
    "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)
WAIT = "wait-for: {resource: pod/web-0, condition: Ready}"


def pod(name: str = "web-0", *, restarts: int = 0, waits: str = "", message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": waits, "message": message}} if waits else {"running": {}}
    return made(
        "Pod", name, labels={"app": "web", **more.pop("labels", {})},
        spec={"nodeName": "n1", "containers": [{"name": "c", "image": "web:1"}], **more.pop("spec", {})},
        status={
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "c", "ready": False, "restartCount": restarts, "state": state}],
            **more,
        },
    )  # fmt: skip


def unscheduled(message: str, *, reason: str = "Unschedulable") -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return made("Pod", "web-0", spec={"containers": []}, status={"phase": "Pending", "conditions": [condition]})


def look(cluster: FakeCluster, text: str = WAIT, **more: Any) -> Any:
    return step(text).attempt(context(cluster, **more))


def test_a_pod_that_fits_no_node_ends_the_wait_when_nothing_changes() -> None:
    outcome = look(FakeCluster(unscheduled(NO_NODE)))

    assert isinstance(outcome, Failed)
    assert outcome.message == f"pod/web-0 is not scheduled: Unschedulable: {NO_NODE}"
    assert (outcome.final, outcome.final_after) == (False, UNCHANGED)


@pytest.mark.parametrize(
    "message",
    [
        "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
        "0/3 nodes are available: 1 Insufficient cpu, 2 too big. preemption: 0/3 nodes are available: 1 No preemption victims found for "
        "incoming pod, 2 Preemption is not helpful for scheduling.",
        NO_NODE.replace("didn't match", "had untolerated taint {node.kubernetes.io/not-ready: }, didn't match"),
        NO_NODE.replace("3 node(s) didn't match", "1 node(s) had untolerated taint(s), 2 node(s) didn't match"),
        NO_NODE.replace("3 node(s) didn't match", "1 node(s) were unschedulable, 2 node(s) didn't match"),
        NO_NODE.replace("3 node(s)", "pod has unbound immediate PersistentVolumeClaims, volume node(s)"),
        "no nodes available to schedule pods",
        "",
    ],
)  # fmt: skip
def test_a_pod_that_may_find_a_node_later_is_waited_for(message: str) -> None:
    outcome = look(FakeCluster(unscheduled(message)))

    assert isinstance(outcome, Failed)
    assert (outcome.final, outcome.final_after) == (False, None)


def test_a_gated_pod_is_waited_for() -> None:
    outcome = look(FakeCluster(unscheduled(NO_NODE, reason="SchedulingGated")))

    assert (outcome.final, outcome.final_after) == (False, None)


def test_where_nodes_may_be_added_no_pod_is_unschedulable_for_good() -> None:
    cluster = FakeCluster(unscheduled(NO_NODE))
    cluster.provider = "kubeconfig"

    outcome = look(cluster)

    assert (outcome.final, outcome.final_after) == (False, None)


def test_the_patient_wait_for_a_node() -> None:
    outcome = look(FakeCluster(unscheduled(NO_NODE)), patient=True)

    assert (outcome.final, outcome.final_after) == (False, None)


def test_a_container_that_crashed_too_often_during_the_wait_ends_it() -> None:
    cluster, memory = FakeCluster(pod(restarts=2, waits="CrashLoopBackOff")), {}

    first = look(cluster, memory=memory)
    cluster.add(pod(restarts=1 + CRASHES, waits="CrashLoopBackOff"))
    almost = look(cluster, memory=memory)
    cluster.add(pod(restarts=2 + CRASHES, waits="CrashLoopBackOff"))
    outcome = look(cluster, memory=memory)

    assert [one.final for one in (first, almost, outcome)] == [False, False, True]
    assert outcome.message == (
        f"pod/web-0 container c crashes ({2 + CRASHES} restarts): ended, after {CRASHES} restarts during the wait, so it won't be Ready"
    )


def test_a_container_that_has_just_been_started_again_gets_its_chance() -> None:
    cluster, memory = FakeCluster(pod()), {}
    look(cluster, memory=memory)
    cluster.add(pod(restarts=CRASHES + 1))

    assert not look(cluster, memory=memory).final


@pytest.mark.parametrize("missing", ['configmap "settings" not found', 'secret "key" not found'])
def test_a_missing_config_map_may_still_come(missing: str) -> None:
    outcome = look(FakeCluster(pod(waits="CreateContainerConfigError", message=missing)))

    assert isinstance(outcome, Failed)
    assert missing in outcome.message
    assert (outcome.final, outcome.final_after) == (False, None)


def deployment(**status: Any) -> dict[str, Any]:
    return made(
        "Deployment", "web", api="apps/v1",
        spec={"replicas": 1, "selector": {"matchLabels": {"app": "web"}}},
        status={"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 0, **status},
    )  # fmt: skip


def rolled(cluster: FakeCluster, *pods: dict[str, Any], generation: int = 1) -> None:
    """A Deployment in its second revision, whose pods have the hash `new`."""
    web = deployment()
    web["metadata"].update(uid="d1", generation=generation, annotations={"deployment.kubernetes.io/revision": "2"})
    cluster.add(web)
    for revision, name in (("1", "old"), ("2", "new")):
        owned = made("ReplicaSet", f"web-{name}", api="apps/v1", labels={"pod-template-hash": name})
        owned["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "web", "uid": "d1", "controller": True}]
        owned["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": revision}
        cluster.add(owned)
    cluster.add(*pods)


@pytest.mark.parametrize(("revision", "ends"), [("old", False), ("new", True)])
def test_only_pods_of_the_latest_revision_end_a_rollout(revision: str, ends: bool) -> None:
    cluster = FakeCluster()
    rolled(cluster, pod(waits="ErrImageNeverPull", labels={"pod-template-hash": revision}))

    outcome = look(cluster, "wait-for: {resource: deployment/web, rollout: true}")

    assert (isinstance(outcome, Errored), outcome.final) == (ends, ends)
    assert "ErrImageNeverPull" in outcome.message


def test_a_rollout_that_has_not_begun_is_waited_for() -> None:
    cluster = FakeCluster()
    rolled(cluster, pod(waits="ErrImageNeverPull", labels={"pod-template-hash": "new"}), generation=2)

    outcome = look(cluster, "wait-for: {resource: deployment/web, rollout: true}")

    assert not outcome.final
    assert outcome.message.startswith("deployment/web: its controller hasn't seen the latest spec yet")


def test_a_deployment_of_which_no_pod_can_run_will_not_be_available() -> None:
    cluster = FakeCluster()
    rolled(cluster, pod(waits="ErrImageNeverPull", labels={"pod-template-hash": "new"}))
    wait = "wait-for: {resource: deployment/web, condition: Available}"

    assert look(cluster, wait).final

    ready = pod("web-1", conditions=[{"type": "Ready", "status": "True"}], labels={"pod-template-hash": "new"})
    cluster.add(ready)
    assert not look(cluster, wait).final


def test_an_object_that_is_deleted_during_the_wait_ends_it_if_it_does_not_come_back() -> None:
    cluster, memory = FakeCluster(pod()), {}
    look(cluster, memory=memory)
    cluster.kube.remove("pod", "web-0", "test-ns")

    assert look(cluster, memory=memory) == Failed(
        "pod/web-0 was deleted while it was waited for", "there", "deleted", final_after=UNCHANGED
    )
    cluster.add(pod(conditions=[{"type": "Ready", "status": "True"}]))
    assert isinstance(look(cluster, memory=memory), Passed)


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": [{"kind": "StatefulSet", "name": "web", "uid": "1", "controller": True}]},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
    ],
)
def test_an_object_that_is_expected_to_go_may_come_again(metadata: dict[str, Any]) -> None:
    leaving = pod()
    leaving["metadata"].update(metadata)
    cluster, memory = FakeCluster(leaving), {}
    look(cluster, memory=memory)
    cluster.kube.remove("pod", "web-0", "test-ns")

    assert look(cluster, memory=memory) == Failed("pod/web-0 does not exist", "Ready", "missing")


@pytest.mark.parametrize(
    "match",
    [
        "{status: {phase: Running}}",
        "{status: {conditions: [{type: Ready, status: 'True'}]}}",
        "{status: {conditions: {any: {type: Ready, status: 'True'}}}}",
        "{status: {containerStatuses: [{name: c, ready: true}]}}",
    ],
)
def test_an_assertion_that_a_pod_runs_ends_when_it_can_not(match: str) -> None:
    broken = pod(waits="ErrImageNeverPull", phase="Pending")
    text = f"assert: {{resource: pod/web-0, match: {match}}}"

    outcome = look(FakeCluster(broken), text)

    assert isinstance(outcome, Errored)
    assert outcome.final
    assert outcome.message.startswith("pod/web-0: .status.")
    assert 'the image "web:1" of container c can\'t be had' in outcome.message
    assert not look(FakeCluster(broken), text, patient=True).final


@pytest.mark.parametrize(
    "match",
    [
        "{status: {phase: Failed}}",
        "{status: {conditions: [{type: Ready, status: Unknown}]}}",
        "{status: {containerStatuses: [{name: c, restartCount: 3}]}}",
        "{metadata: {labels: {a: b}}}",
    ],
)
def test_an_assertion_of_something_else_waits_on(match: str) -> None:
    broken = pod(waits="ErrImageNeverPull", phase="Pending")

    assert not look(FakeCluster(broken), f"assert: {{resource: pod/web-0, match: {match}}}").final


@pytest.mark.parametrize(
    ("match", "ends"),
    [("availableReplicas: 1", True), ("readyReplicas: {ge: 1}", True), ("availableReplicas: 0", False)],
)
def test_an_assertion_on_replicas_ends_when_their_pods_can_not_run(match: str, ends: bool) -> None:
    cluster = FakeCluster()
    rolled(cluster, pod(waits="ErrImageNeverPull", labels={"pod-template-hash": "new"}))

    outcome = look(cluster, f"assert: {{resource: deployment/web, match: {{status: {{{match}}}}}}}")

    assert getattr(outcome, "final", False) == ends


def test_an_assertion_that_a_job_completes_ends_when_it_has_failed() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}
    job = made("Job", "load", api="batch/v1", status={"conditions": [failed], "failed": 3})

    outcome = look(FakeCluster(job), "assert: {resource: job/load, match: {status: {succeeded: 1}}}")

    assert outcome.final
    assert outcome.message == (
        "job/load: .status.succeeded is missing, expected 1; job/load has failed: BackoffLimitExceeded: too often"
    )
    assert (outcome.expected, outcome.actual) == ("1", "missing")


def owned(found: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    api = "batch/v1" if kind == "Job" else "example.com/v1" if kind == "Web" else "apps/v1"
    found["metadata"]["ownerReferences"] = [
        {"apiVersion": api, "kind": kind, "name": name, "uid": "u", "controller": True}
    ]
    return found


@pytest.mark.parametrize(("revision", "ends"), [("old", False), ("new", True)])
def test_a_selected_pod_that_a_rollout_replaces_ends_nothing(revision: str, ends: bool) -> None:
    broken = owned(
        pod(waits="ErrImageNeverPull", labels={"pod-template-hash": revision}), "ReplicaSet", f"web-{revision}"
    )
    cluster = FakeCluster()
    rolled(cluster, broken)

    outcome = look(cluster, "wait-for: {resource: pods, selector: app=web, all: true, condition: Ready}")

    assert isinstance(outcome, Errored) == ends
    assert outcome.final == ends
    assert "can't be had" in outcome.message


def test_a_pod_of_a_deployment_whose_new_spec_nobody_has_seen_ends_nothing() -> None:
    broken = owned(pod(waits="ErrImageNeverPull", labels={"pod-template-hash": "new"}), "ReplicaSet", "web-new")
    cluster = FakeCluster()
    rolled(cluster, broken, generation=2)

    assert not look(cluster).final


@pytest.mark.parametrize("kind", ["ReplicaSet", "Web"])
def test_a_pod_whose_controller_is_gone_or_unknown_ends_nothing(kind: str) -> None:
    broken = owned(pod(waits="ErrImageNeverPull"), kind, "web")

    assert not look(FakeCluster(broken)).final


def test_a_job_s_pod_stays() -> None:
    job = made("Job", "load", api="batch/v1", status={})
    broken = owned(pod(waits="ErrImageNeverPull"), "Job", "load")

    assert look(FakeCluster(broken, job)).final


@pytest.mark.parametrize("how", ["any: true", "count: {ge: 1}"])
def test_one_of_several_that_can_not_comply_ends_nothing(how: str) -> None:
    ready = pod("web-1", conditions=[{"type": "Ready", "status": "True"}])
    cluster = FakeCluster(pod(waits="ErrImageNeverPull"))
    text = f"wait-for: {{resource: pods, selector: app=web, {how}, condition: Ready}}"
    match = "{status: {conditions: [{type: Ready, status: 'True'}]}}"
    asserted = f"assert: {{resource: pods, selector: app=web, {how}, match: {match}}}"

    assert not look(cluster, text).final
    assert not look(cluster, asserted).final
    cluster.add(ready)
    assert isinstance(look(cluster, text), Passed)
    assert isinstance(look(cluster, asserted), Passed)

from __future__ import annotations

from typing import Any, cast

from koalesce.kube import View
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.workloads.readiness import ready
from tests.fakes import FakeCluster, made


def look(cluster: FakeCluster, *objects: dict[str, Any], patient: bool = False) -> Outcome:
    return ready(
        cast(View, cluster.view),
        [{**obj, "metadata": {"namespace": "test-ns", **obj["metadata"]}} for obj in objects],
        patient=patient,
    )


def deployment(available: int) -> dict[str, Any]:
    return made(
        "Deployment", "web", api="apps/v1",
        spec={"replicas": 2, "selector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}},
        status={"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": available},
    )  # fmt: skip


def daemon_set(desired: int, **node_selector: str) -> dict[str, Any]:
    return made(
        "DaemonSet", "agent", api="apps/v1",
        spec={"selector": {"matchLabels": {"app": "agent"}}, "template": {"spec": {"nodeSelector": node_selector}}},
        status={"observedGeneration": 1, "desiredNumberScheduled": desired, "updatedNumberScheduled": desired, "numberAvailable": desired},
    )  # fmt: skip


def conditioned(kind: str, name: str, api: str, condition: str, status: str, **more: str) -> dict[str, Any]:
    return made(kind, name, api=api, status={"conditions": [{"type": condition, "status": status, **more}]})


def pod(name: str, *, reason: str = "", ready: bool = False, **status: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason}} if reason else {"running": {}}
    return made(
        "Pod", name, labels={"app": "web"}, spec={"nodeName": "n", "containers": [{"name": "c", "image": "web:1"}]},
        status={
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "c", "ready": ready, "state": state}],
            **status,
        },
    )  # fmt: skip


def test_everything_is_ready() -> None:
    objects = [
        deployment(2),
        daemon_set(3),
        conditioned("CustomResourceDefinition", "w.example.com", "apiextensions.k8s.io/v1", "Established", "True"),
        conditioned("APIService", "v1.m", "apiregistration.k8s.io/v1", "Available", "True"),
        conditioned("Job", "load", "batch/v1", "Complete", "True"),
        pod("single", ready=True),
    ]
    cluster = FakeCluster(*objects, made("Node", "n"))

    assert look(cluster, *objects, made("ConfigMap", "c")) == Passed(
        "deployment/web, daemonset/agent, customresourcedefinition/w.example.com and 3 more ready"
    )


def test_other_kinds_need_nothing() -> None:
    assert look(FakeCluster(), made("ConfigMap", "c")) == Passed("nothing to wait for")


def test_one_that_is_not_ready_is_told_with_the_reason_of_its_pods() -> None:
    cluster = FakeCluster(deployment(1), pod("web-0", reason="ContainerCreating"), pod("web-1", ready=True))

    assert look(cluster, deployment(1)) == Failed(
        "deployment/web: 1 of 2 replicas are available; pod/web-0 container c waits: ContainerCreating",
        "2 available",
        "1 available",
        "pod/web-0 container c waits: ContainerCreating",
    )


def test_several_that_are_not_ready_are_listed() -> None:
    job = conditioned("Job", "load", "batch/v1", "Suspended", "True")
    definition = conditioned(
        "CustomResourceDefinition", "w", "apiextensions.k8s.io/v1", "Established", "False", reason="NamesPending"
    )

    outcome = look(
        FakeCluster(job, definition), definition, job, made("APIService", "v1.m", api="apiregistration.k8s.io/v1")
    )

    assert outcome == Failed(
        "3 of 3 objects aren't ready; customresourcedefinition/w isn't Established: NamesPending",
        "True",
        "False",
        "customresourcedefinition/w isn't Established: NamesPending\njob/load isn't complete\napiservice/v1.m does not exist",
    )


def test_an_image_that_can_not_be_had_is_final_unless_patient() -> None:
    wanted = pod("web-0", reason="ErrImageNeverPull")
    cluster = FakeCluster(wanted)

    outcomes = [look(cluster, wanted, patient=patient) for patient in (False, True)]

    assert [isinstance(outcome, Errored) and outcome.final for outcome in outcomes] == [True, False]
    for outcome in outcomes:
        assert isinstance(outcome, Errored)
        assert outcome.message.startswith('pod/web-0: the image "web:1" of container c can\'t be had')


def test_a_failed_job_is_final() -> None:
    job = conditioned("Job", "load", "batch/v1", "Failed", "True", reason="BackoffLimitExceeded", message="too often")

    assert look(FakeCluster(job), job) == Failed(
        "job/load has failed: BackoffLimitExceeded: too often", "Complete", "Failed", final=True
    )


def test_a_pod_that_ends_well_is_ready() -> None:
    once = pod("once", phase="Succeeded")
    once["spec"]["restartPolicy"] = "Never"

    assert look(FakeCluster(once), once) == Passed("pod/once ready")


def test_a_daemon_set_on_no_node_is_not_ready_while_there_are_nodes_for_it() -> None:
    cluster = FakeCluster(daemon_set(0), made("Node", "n", labels={"os": "linux"}))

    assert look(cluster, daemon_set(0)) == Failed(
        "daemonset/agent is to run on none of 1 nodes: its taints, affinity or node selector leave none",
        "1 or more nodes",
        "0 nodes",
    )


def test_a_daemon_set_for_other_nodes_is_ready() -> None:
    windows = daemon_set(0, os="windows")
    cluster = FakeCluster(windows, made("Node", "n", labels={"os": "linux"}))

    assert look(cluster, windows) == Passed("daemonset/agent ready")


def test_pods_that_could_not_be_made_are_told() -> None:
    refused = deployment(0)
    refused["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]

    outcome = look(FakeCluster(refused), refused)

    assert isinstance(outcome, Failed)
    assert outcome.message == "deployment/web: 0 of 2 replicas are available; no pod could be made: exceeded quota"


def test_a_job_tells_why_its_pods_do_not_run() -> None:
    job = made("Job", "load", api="batch/v1", spec={"selector": {"matchLabels": {"app": "web"}}}, status={})
    cluster = FakeCluster(job, pod("load-1", reason="ContainerCreating"))

    assert look(cluster, job) == Failed(
        "job/load isn't complete; pod/load-1 container c waits: ContainerCreating",
        "Complete",
        "not complete",
        "pod/load-1 container c waits: ContainerCreating",
    )
    cluster.add(pod("load-2", reason="ErrImageNeverPull"))
    assert isinstance(look(cluster, job), Errored)

from __future__ import annotations

from typing import Any

import pytest

from koalesce.steps.base import Failed, Passed
from koalesce.steps.workloads.rollout import rollout_status
from tests.fakes import made


def workload(kind: str, spec: dict[str, Any], generation: int = 1, **status: Any) -> dict[str, Any]:
    obj = made(kind, "web", api="apps/v1", spec=spec, status={"observedGeneration": 1, **status})
    obj["metadata"]["generation"] = generation
    return obj


DONE = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2}


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (workload("Deployment", {"replicas": 2}, **DONE), "deployment/web is rolled out (2 replicas)"),
        (workload("Deployment", {}, replicas=1, updatedReplicas=1, availableReplicas=1), "deployment/web is rolled out (1 replica)"),
        (workload("Deployment", {"replicas": 0}), "deployment/web is rolled out (0 replicas)"),
        (workload("DaemonSet", {}, desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=3), "daemonset/web is rolled out (3 replicas)"),
        (workload("StatefulSet", {"replicas": 2}, updateRevision="a", currentRevision="a", **DONE), "statefulset/web is rolled out (2 replicas)"),
        (
            workload("StatefulSet", {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}}, updateRevision="b", currentRevision="a", readyReplicas=2, updatedReplicas=1),
            "statefulset/web is rolled out (2 replicas)",
        ),
    ],
)  # fmt: skip
def test_is_rolled_out(obj: dict[str, Any], message: str) -> None:
    assert rollout_status(obj) == Passed(message)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (workload("Deployment", {"replicas": 2}, generation=2, **DONE), "deployment/web: its controller hasn't seen the latest spec yet"),
        (made("Deployment", "web", api="apps/v1", spec={}), "deployment/web: 0 of 1 replicas are updated"),
        (workload("Deployment", {"replicas": 2}, updatedReplicas=1), "deployment/web: 1 of 2 replicas are updated"),
        (workload("Deployment", {"replicas": 2}, updatedReplicas=2, replicas=3), "deployment/web: 1 old replicas are still to end"),
        (workload("Deployment", {"replicas": 2}, updatedReplicas=2, replicas=2), "deployment/web: 0 of 2 replicas are available"),
        (workload("DaemonSet", {}, desiredNumberScheduled=3, updatedNumberScheduled=1), "daemonset/web: 1 of 3 replicas are updated"),
        (workload("DaemonSet", {}, desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=2), "daemonset/web: 2 of 3 replicas are available"),
        (workload("StatefulSet", {"replicas": 2}, readyReplicas=1), "statefulset/web: 1 of 2 replicas are ready"),
        (workload("StatefulSet", {"replicas": 2}, readyReplicas=2, updatedReplicas=1, updateRevision="b", currentRevision="a"), "statefulset/web: 1 of 2 replicas are updated"),
        (
            workload("StatefulSet", {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 1}}}, readyReplicas=3, updatedReplicas=1),
            "statefulset/web: 1 of 2 replicas are updated",
        ),
        (made("StatefulSet", "web", api="apps/v1", spec={"replicas": 0}), "statefulset/web: its controller hasn't seen the latest spec yet"),
    ],
)  # fmt: skip
def test_is_not_rolled_out_yet(obj: dict[str, Any], message: str) -> None:
    outcome = rollout_status(obj)

    assert isinstance(outcome, Failed)
    assert (outcome.message, outcome.final) == (message, False)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (
            workload("Deployment", {}, conditions=[{"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "stuck"}]),
            "deployment/web exceeded its progress deadline: stuck",
        ),
        (workload("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}), "daemonset/web: only the update strategy RollingUpdate has a rollout to wait for"),
        (workload("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}), "statefulset/web: only the update strategy RollingUpdate has a rollout to wait for"),
    ],
)  # fmt: skip
def test_never_will_be(obj: dict[str, Any], message: str) -> None:
    outcome = rollout_status(obj)

    assert isinstance(outcome, Failed)
    assert (outcome.message, outcome.final) == (message, True)

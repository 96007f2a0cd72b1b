"""What the evidence says of pods, workloads and nodes."""

from __future__ import annotations

from typing import Any

from koalesce.engine.describing import describe, event_lines, unready
from tests.fakes import made


def event(name: str, uid: str, at: str, reason: str, message: str, **more: Any) -> dict[str, Any]:
    about = {"kind": "Pod", "name": name, "uid": uid}
    return made(
        "Event",
        f"{name}-{at}",
        involvedObject=about,
        type="Warning",
        reason=reason,
        message=message,
        lastTimestamp=at,
        **more,
    )


def pod() -> dict[str, Any]:
    crashed = {"terminated": {"exitCode": 3, "reason": "Error", "finishedAt": "2026-01-01T00:00:05Z"}}
    found = made(
        "Pod", "web", namespace="n", spec={"nodeName": "worker-1", "containers": [{"name": "c"}]},
        status={
            "phase": "Running", "podIP": "10.244.1.2",
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}, {"type": "PodScheduled", "status": "True"}
            ],
            "containerStatuses": [
                {"name": "c", "image": "web:1", "restartCount": 2, "ready": False, "lastState": crashed,
                 "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}
            ],
        },
    )  # fmt: skip
    found["metadata"]["uid"] = "u1"
    return found


def test_a_pod_with_its_containers_conditions_and_events() -> None:
    events = [
        event("web", "u1", "2026-01-01T00:00:06Z", "BackOff", "Back-off restarting", count=2),
        event("web", "u1", "2026-01-01T00:00:01Z", "Failed", "no luck"),
        event("web", "u0", "2026-01-01T00:00:00Z", "Old", "of a pod before this one"),
    ]

    assert describe([pod()], events).splitlines() == [
        "pod/web: on worker-1, Running, 10.244.1.2; container c crashes (2 restarts): ended with code 3 (Error)",
        "  container c, image web:1: waiting (CrashLoopBackOff, back-off 10s), restarts 2, "
        "before: terminated (code 3, Error, 2026-01-01T00:00:05Z)",
        "  conditions: Ready=False (ContainersNotReady), PodScheduled=True",
        "  2026-01-01T00:00:01Z  Warning  Failed  no luck",
        "  2026-01-01T00:00:06Z  Warning  BackOff (2 times)  Back-off restarting",
    ]


def test_workloads_tell_how_far_they_are() -> None:
    deployment = made(
        "Deployment", "web", api="apps/v1", spec={"replicas": 2},
        status={"updatedReplicas": 2, "replicas": 2, "availableReplicas": 1},
    )  # fmt: skip
    job = made("Job", "load", api="batch/v1", status={"failed": 3})

    assert describe([deployment, job], []) == (
        "deployment/web: 1 of 2 replicas are available\n\njob/load: 0 succeeded, 3 failed, 0 active"
    )


def test_a_node_tells_what_it_takes() -> None:
    node = made(
        "Node", "worker-1", spec={"taints": [{"key": "a", "effect": "NoSchedule"}], "unschedulable": True},
        status={"allocatable": {"memory": "1Gi", "cpu": "2"}, "conditions": [{"type": "Ready", "status": "True"}]},
    )  # fmt: skip

    assert describe([node], []).splitlines() == [
        "node/worker-1",
        "  taints: a=:NoSchedule; unschedulable",
        "  allocatable: cpu 2, memory 1Gi",
        "  conditions: Ready=True",
    ]


def test_events_are_in_the_order_of_time() -> None:
    events = [
        event("b", "2", "2026-01-01T00:00:02Z", "B", "second"),
        event("a", "1", "2026-01-01T00:00:01Z", "A", "first\nline"),
    ]

    assert event_lines(events) == [
        "2026-01-01T00:00:01Z  Warning  A  pod/a  first line",
        "2026-01-01T00:00:02Z  Warning  B  pod/b  second",
    ]


def test_pods_that_have_succeeded_are_fine() -> None:
    done = made("Pod", "done", namespace="n", status={"phase": "Succeeded"})

    assert unready([done, pod()]) == ["pod/web in n container c crashes (2 restarts): ended with code 3 (Error)"]

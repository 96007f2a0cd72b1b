from __future__ import annotations

from typing import Any

from koalesce.kube.history import transitions


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "uid": "1"}, "status": status}


def test_an_object_comes_and_goes() -> None:
    assert transitions(None, pod()) == ["created"]
    assert transitions(pod(), None) == ["deleted"]


def test_conditions_tell_why_they_are_not_true() -> None:
    old = pod(conditions=[{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}])
    new = pod(conditions=[{"type": "Ready", "status": "True", "reason": "Fine"}, {"type": "New", "status": "Unknown"}])

    assert transitions(old, new) == ["New: missing -> Unknown", "Ready: False (ContainersNotReady) -> True"]


def test_plain_fields_of_the_status_are_told() -> None:
    old, new = pod(phase="Pending", addresses=[1]), pod(phase="Running", readyReplicas=2, addresses=[2])

    assert transitions(old, new) == ["phase: Pending -> Running", "readyReplicas: unset -> 2"]


def test_containers_that_crash_are_told() -> None:
    old = pod(containerStatuses=[{"name": "app", "restartCount": 0, "state": {"running": {}}}])
    new = pod(
        containerStatuses=[{"name": "app", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    )

    assert transitions(old, new) == [
        "container app: running -> waiting (CrashLoopBackOff)",
        "container app: restarts 0 -> 1",
    ]


def test_deletion_that_has_begun_and_replacement_are_told() -> None:
    old = pod()
    leaving = {"metadata": {"name": "web", "uid": "1", "deletionTimestamp": "now"}}
    other = {"metadata": {"name": "web", "uid": "2"}}

    assert transitions(old, leaving) == ["deletion began"]
    assert transitions(old, other) == ["replaced by a new object of this name"]


def test_an_odd_status_of_a_custom_resource_is_no_trouble() -> None:
    old = {"metadata": {"name": "w"}, "status": "fine"}
    new = {"metadata": {"name": "w"}, "status": {"conditions": "none", "containerStatuses": [1]}}

    assert transitions(old, new) == ["conditions: unset -> none"]

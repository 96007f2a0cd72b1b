from __future__ import annotations

from typing import Any

import pytest

from koalesce.steps.base import Errored
from koalesce.steps.workloads.pods import image_verdict, why_not_ready
from tests.fakes import made


def pod(**fields: Any) -> dict[str, Any]:
    spec = {
        "nodeName": "n1",
        "containers": [{"name": "c", "image": "web:1", "readinessProbe": {}}],
        **fields.pop("spec", {}),
    }
    return made("Pod", "web-0", spec=spec, status=fields)


def container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "c", "image": "", "ready": False, "state": state, **more}


def condition(kind: str, status: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, **more}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (pod(conditions=[condition("Ready", "True")]), ""),
        (pod(spec={"nodeName": ""}), "is not scheduled yet"),
        (
            pod(conditions=[condition("PodScheduled", "False", reason="Unschedulable", message="0/3 nodes are available:\n taint")]),
            "is not scheduled: Unschedulable: 0/3 nodes are available: taint",
        ),
        (pod(), "on n1: the kubelet hasn't started its containers yet"),
        (pod(phase="Failed", reason="Evicted", message="low on disk"), "has ended (Failed): Evicted: low on disk"),
        (
            pod(phase="Failed", containerStatuses=[container({"terminated": {"exitCode": 3, "reason": "Error"}})]),
            "has ended (Failed): container c ended with code 3 (Error)",
        ),
        (
            pod(containerStatuses=[container({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}})]),
            'container c: ImagePullBackOff for the image "web:1": Back-off',
        ),
        (
            pod(
                containerStatuses=[
                    container(
                        {"waiting": {"reason": "CrashLoopBackOff"}},
                        restartCount=4,
                        lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    )
                ]
            ),
            "container c crashes (4 restarts): ended with code 137 (OOMKilled)",
        ),
        (
            pod(
                conditions=[condition("PodReadyToStartContainers", "False")],
                containerStatuses=[container({"waiting": {"reason": "ContainerCreating"}})],
            ),
            "container c waits: ContainerCreating (its sandbox and network aren't set up yet)",
        ),
        (
            pod(containerStatuses=[container({"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "x" not found'}})]),
            'container c waits: CreateContainerConfigError: configmap "x" not found',
        ),
        (pod(containerStatuses=[container({"running": {}}, restartCount=0)]), "container c runs, but its readiness probe hasn't passed"),
        (
            pod(containerStatuses=[container({"running": {}}, restartCount=1, lastState={"terminated": {"signal": 9}})]),
            "container c runs, but its readiness probe hasn't passed (1 restart; before, it ended with signal 9)",
        ),
        (
            pod(
                initContainerStatuses=[{"name": "i", "ready": False, "state": {"running": {}}}],
                containerStatuses=[container({"waiting": {"reason": "PodInitializing"}})],
            ),
            "init container i hasn't ended yet",
        ),
        (
            pod(spec={"readinessGates": [{"conditionType": "lb"}]}, containerStatuses=[{"name": "c", "ready": True}]),
            "its readiness gate lb isn't True",
        ),
        (
            pod(containerStatuses=[{"name": "c", "ready": True}], conditions=[condition("Ready", "False", reason="NodeLost")]),
            "isn't Ready: NodeLost",
        ),
    ],
)  # fmt: skip
def test_says_in_one_line_why_a_pod_is_not_ready(found: dict[str, Any], why: str) -> None:
    assert why_not_ready(found) == why


def test_a_pod_that_is_being_deleted_says_so() -> None:
    found = pod(conditions=[condition("Ready", "True")])
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert why_not_ready(found) == "is being deleted"


@pytest.mark.parametrize("field", ["initContainerStatuses", "containerStatuses"])
def test_an_image_that_can_not_be_had_is_final(field: str) -> None:
    verdict = image_verdict(
        pod(**{field: [container({"waiting": {"reason": "ErrImagePull", "message": "not found"}})]})
    )

    assert isinstance(verdict, Errored)
    assert verdict.final
    assert 'the image "web:1"' in verdict.message
    assert "cluster.images" in verdict.message
    assert "--image REF=PATH" in verdict.message


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", 'failed to resolve reference "example.com/web:1": example.com/web:1: not found'),
        ("ImagePullBackOff", 'Back-off pulling image "web:1": ErrImagePull: pull access denied, repository does not exist'),
        ("ErrImagePull", "unexpected status from HEAD request to https://example.com/v2/: 403 Forbidden"),
        ("ErrImagePull", "no match for platform in manifest"),
        ("InvalidImageName", ""),
        ("ErrImageNeverPull", ""),
    ],
)  # fmt: skip
def test_a_refusal_for_good_ends_the_wait(reason: str, message: str) -> None:
    verdict = image_verdict(pod(containerStatuses=[container({"waiting": {"reason": reason, "message": message}})]))

    assert verdict is not None
    assert verdict.final


@pytest.mark.parametrize(
    "message",
    [
        "dial tcp: i/o timeout", "connection refused", "unexpected EOF", "lookup example.com: no such host", "", "Back-off",
        "unexpected status from HEAD request to https://example.com/v2/: 503 Service Unavailable",
        "unexpected status from GET request: 429 Too Many Requests: not found in cache",
    ],
)  # fmt: skip
def test_a_first_pull_that_a_network_broke_may_still_succeed(message: str) -> None:
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        waiting = {"waiting": {"reason": reason, "message": f'Back-off pulling "web:404": {message}'}}
        verdict = image_verdict(pod(containerStatuses=[container(waiting)]))
        assert verdict is not None
        assert not verdict.final


def test_other_reasons_to_wait_say_nothing_of_images() -> None:
    assert image_verdict(pod(containerStatuses=[container({"waiting": {"reason": "ContainerCreating"}})])) is None

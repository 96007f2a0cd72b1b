"""Events, restarts and metrics against a real API server: what fakes can't tell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from koalesce.steps.base import Failed, Passed
from koalesce.steps.inside.moments import test_began as began
from tests.contract.api_server import ApiServer
from tests.contract.test_steps_on_objects import Test


@pytest.fixture
def test(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Test]:
    given = Test(api_server, namespace, tmp_path)
    yield given
    for view in given.views:
        view.close()


def tell(test: Test, about: dict[str, Any], reason: str, *, kind: str = "Normal", **more: Any) -> dict[str, Any]:
    """Record an event about an object as controllers do."""
    metadata = about["metadata"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}."},
        "involvedObject": {
            "apiVersion": about["apiVersion"], "kind": about["kind"], "name": metadata["name"],
            "namespace": metadata.get("namespace"), "uid": metadata["uid"],
        },
        "reason": reason,
        "type": kind,
        **more,
    }  # fmt: skip
    return test.kube.create(event, namespace=metadata.get("namespace") or "default")


def a_pod(test: Test, name: str = "web-0") -> dict[str, Any]:
    return test.kube.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "x"}]},
        },
        namespace=test.namespace,
    )


def test_an_event_is_seen_when_it_comes(test: Test) -> None:
    pod = a_pod(test)
    wanted = "events: {for: pod/web-0, reason: BackOff, type: Warning, message: {contains: again}}"
    before = test.look(wanted)
    tell(test, pod, "BackOff", kind="Warning", message="starting again", count=3)

    assert isinstance(before, Failed)
    assert isinstance(test.until_passed(wanted), Passed)
    assert isinstance(test.look("events: {for: pods, selector: app=web, count: 3}"), Passed)


def test_events_of_the_newer_kind_are_the_same(test: Test) -> None:
    pod = a_pod(test)
    test.kube.create(
        {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": "web-0-"},
            "regarding": {
                "apiVersion": "v1", "kind": "Pod", "name": "web-0", "namespace": test.namespace, "uid": pod["metadata"]["uid"],
            },
            "reason": "Scheduled",
            "action": "Binding",
            "type": "Normal",
            "note": "assigned",
            "reportingController": "scheduler",
            "reportingInstance": "s",
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
        namespace=test.namespace,
    )  # fmt: skip

    assert isinstance(test.look("events: {for: pod/web-0, source: scheduler, message: assigned, since: test}"), Passed)


def test_events_before_the_test_do_not_count(test: Test) -> None:
    pod = a_pod(test)
    old = (test.kube.now() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    tell(test, pod, "Killing", firstTimestamp=old, lastTimestamp=old)

    assert isinstance(test.look("events: {for: pod/web-0, reason: Killing}"), Failed)
    assert isinstance(test.look("events: {for: pod/web-0, reason: Killing, since: 2h}"), Passed)


def test_the_servers_time(test: Test) -> None:
    now = test.kube.now()

    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    assert now - timedelta(minutes=1) < began(test.context()) <= now


def test_restarts_as_the_kubelet_reports_them(test: Test) -> None:
    pod = a_pod(test)
    terminated = {
        "exitCode": 2,
        "reason": "Error",
        "startedAt": pod["metadata"]["creationTimestamp"],
        "finishedAt": pod["metadata"]["creationTimestamp"],
        "containerID": "x://1",
    }
    starting = test.look("restarts: {pods: app=web}")
    status = {
        "name": "main", "image": "x", "imageID": "x", "ready": True, "restartCount": 1,
        "state": {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}}, "lastState": {"terminated": terminated},
    }  # fmt: skip
    test.kube.patch(
        test.kube.resource("pods"),
        "web-0",
        test.namespace,
        {"status": {"containerStatuses": [status]}},
        subresource="status",
    )

    assert isinstance(starting, Failed)
    assert "hasn't started" in starting.message
    failed = test.look("restarts: {pods: app=web, since: test}")
    assert isinstance(failed, Failed)
    assert failed.message == "web-0, container main: 1 restart; before, it ended with code 2 (Error)"
    assert isinstance(test.look("restarts: {pods: app=web, max: 1}"), Passed)


def test_the_api_servers_own_metrics(test: Test) -> None:
    sums = test.look("metrics: {apiServer: true, name: apiserver_request_total, sum: [resource], value: {gt: 0}}")
    quantile = test.look(
        "metrics: {apiServer: true, name: apiserver_request_duration_seconds, quantile: 0.9, sum: true, value: {gt: 0}}"
    )
    typo = test.look("metrics: {apiServer: true, name: apiserver_requests_total}")

    assert isinstance(sums, Passed)
    assert {"configmaps", "namespaces"} & {sample["labels"].get("resource") for sample in sums.value["samples"]}
    assert isinstance(quantile, Passed)
    assert isinstance(typo, Failed)
    assert typo.message.endswith("did you mean apiserver_request_total?")

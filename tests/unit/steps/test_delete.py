from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.kube import ApiError
from koalesce.steps.base import Errored, Failed, Passed
from tests.fakes import FakeCluster, api_error, context, made, step


def passed(outcome: Any) -> str:
    assert isinstance(outcome, Passed)
    return outcome.message


def deleted(cluster: FakeCluster) -> list[Any]:
    return [what for verb, what in cluster.kube.requests if verb == "delete"]


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    obj = made("Pod", name, labels={"app": "web"})
    obj["metadata"] |= metadata
    return obj


def test_deletes_and_passes_once_it_is_gone() -> None:
    cluster = FakeCluster(pod("web-0"))

    outcome = step("delete: pod/web-0").attempt(context(cluster))

    assert passed(outcome) == "pod/web-0 gone"
    assert deleted(cluster) == [{"kind": "Pod", "name": "web-0", "namespace": "test-ns", "propagation": "Background"}]


def test_waits_for_finalizers_and_asks_only_once() -> None:
    cluster = FakeCluster(pod("web-0", finalizers=["example.com/hold"]))
    delete = step("delete: pod/web-0")
    same_step = context(cluster)

    first = delete.attempt(same_step)
    second = delete.attempt(same_step)

    still = "pod/web-0 still there, finalizers: example.com/hold"
    assert first == second == Failed(still, "gone", "1 still there", still)
    assert len(deleted(cluster)) == 1
    cluster.kube.remove("pod", "web-0", "test-ns")
    assert passed(delete.attempt(same_step)) == "pod/web-0 gone"


def test_another_object_in_its_place_means_that_it_is_gone() -> None:
    cluster = FakeCluster(pod("web-0", finalizers=["example.com/hold"]))
    delete = step("delete: pod/web-0")
    same_step = context(cluster)

    delete.attempt(same_step)
    cluster.kube.remove("pod", "web-0", "test-ns")
    cluster.add(pod("web-0"))

    assert passed(delete.attempt(same_step)) == "pod/web-0 gone"
    assert cluster.get("pod", "web-0") is not None


def test_what_a_selector_meets_at_first_is_all_that_goes() -> None:
    cluster = FakeCluster(pod("web-0", finalizers=["example.com/hold"]), pod("web-1"))
    delete = step("delete: {resource: pods, selector: app=web}")
    same_step = context(cluster)

    delete.attempt(same_step)
    cluster.add(pod("web-2"))
    delete.attempt(same_step)

    assert [what["name"] for what in deleted(cluster)] == ["web-0", "web-1"]
    cluster.kube.remove("pod", "web-0", "test-ns")
    assert passed(delete.attempt(same_step)) == "pod/web-0, pod/web-1 gone"


def test_need_not_wait() -> None:
    cluster = FakeCluster(pod("web-0", finalizers=["example.com/hold"]))

    assert passed(step("delete: {resource: pod/web-0, wait: false}").attempt(context(cluster))) == "pod/web-0 will go"


def test_a_failing_request_is_made_again_without_losing_the_rest() -> None:
    cluster = FakeCluster(pod("web-0"), pod("web-1"))
    cluster.kube.fail("delete", api_error(503, "busy"))
    delete = step("delete: {resource: pods, selector: app=web}")
    same_step = context(cluster)

    with pytest.raises(ApiError):
        delete.attempt(same_step)

    assert passed(delete.attempt(same_step)) == "pod/web-0, pod/web-1 gone"


def test_nothing_to_delete_is_a_failure_at_once() -> None:
    outcome = step("delete: pod/web-0").attempt(context(FakeCluster()))

    assert outcome == Failed(
        "pod/web-0: there is nothing to delete; say mayNotExist if that is fine",
        "there, then gone",
        "missing",
        final=True,
    )
    selected = step("delete: {resource: pods, selector: app=web}").attempt(context(FakeCluster()))
    assert selected.message == "pods with app=web: there is nothing to delete; say mayNotExist if that is fine"


def test_nothing_to_delete_may_be_fine() -> None:
    outcome = step("delete: pod/web-0").attempt(context(FakeCluster(), may_not_exist=True))

    assert passed(outcome) == "there was nothing to delete, as it may be"


def test_objects_of_files_go(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web-0}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n1}\n"
    )
    cluster = FakeCluster(pod("web-0"), made("Node", "n1"))

    outcome = step("delete: {file: a.yaml, propagation: Foreground, gracePeriod: 0}").attempt(
        context(cluster, root=tmp_path, disruptive=True)
    )

    assert passed(outcome) == "pod/web-0, node/n1 gone"
    assert deleted(cluster) == [
        {"kind": "Pod", "name": "web-0", "namespace": "test-ns", "propagation": "Foreground", "grace_seconds": 0},
        {"kind": "Node", "name": "n1", "namespace": None, "propagation": "Foreground", "grace_seconds": 0},
    ]


def test_an_object_of_another_test_stays() -> None:
    cluster = FakeCluster(made("Pod", "web-0", labels={"koalesce.dev/run": "r1", "koalesce.dev/test": "t2"}))

    outcome = step("delete: pod/web-0").attempt(context(cluster))

    assert outcome == Errored(
        "pod/web-0 in test-ns belongs to another test (koalesce.dev/test=t2); a test may change only what it made",
        final=True,
    )
    assert deleted(cluster) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("delete: {}", "delete needs exactly one of resource, and object, objects, file or files"),
        (
            "delete: {resource: pod/a, file: a.yaml}",
            "delete needs exactly one of resource, and object, objects, file or files",
        ),
        ("delete: pods", "delete pods: write either KIND/NAME, or KIND and a selector"),
        ("delete: {resource: pod/a, selector: a=b}", "delete pod/a: write either KIND/NAME, or KIND and a selector"),
        ("delete: {file: a.yaml, selector: a=b}", "a selector needs a resource"),
        ("delete: {resource: pods, selector: 'a=(b'}", "is not a label selector"),
        ("delete: {resource: pod/a, propagation: Sideways}", "Background"),
        ("delete: {resource: pod/a, gracePeriod: -1}", "greater than or equal to 0"),
    ],
)
def test_what_makes_no_sense_is_invalid(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(text)

    assert problem in str(raised.value)

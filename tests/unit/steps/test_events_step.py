"""What Kubernetes tells of objects."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.events import Events
from tests.fakes import NAMESPACE, FakeCluster, context, made


def event(
    name: str,
    about: dict[str, Any],
    reason: str,
    *,
    at: str = "2026-01-01T11:30:00Z",
    kind: str = "Normal",
    **more: Any,
) -> dict[str, Any]:
    regarding = {
        "apiVersion": about["apiVersion"],
        "kind": about["kind"],
        "name": about["metadata"]["name"],
        "uid": about["metadata"].get("uid"),
    }
    return made(
        "Event", name, involvedObject=regarding, reason=reason, type=kind,
        firstTimestamp=more.pop("first", at), lastTimestamp=at, source={"component": "kubelet"}, **more,
    )  # fmt: skip


@pytest.fixture
def cluster() -> FakeCluster:
    namespace = made("Namespace", NAMESPACE)
    namespace["metadata"]["creationTimestamp"] = "2026-01-01T11:00:00Z"
    found = FakeCluster(
        namespace, made("Pod", "web-0", labels={"app": "web"}), made("Pod", "web-1"), made("Node", "worker-1")
    )
    pod = found.get("pod", "web-0")
    assert pod is not None
    found.add(
        event("e1", pod, "Pulled", message="Container image is there"),
        event("e2", pod, "BackOff", kind="Warning", message="Back-off restarting", count=4),
    )
    return found


def attempt(given: FakeCluster | StepContext, **fields: Any) -> Outcome:
    where = context(given) if isinstance(given, FakeCluster) else given
    return Events.model_validate(fields).attempt(where)


def test_events_about_an_object(cluster: FakeCluster) -> None:
    outcome = attempt(
        cluster, **{"for": "pod/web-0"}, reason="BackOff", type="Warning", message={"contains": "Back-off"},
        source="kubelet", count={"le": 4},
    )  # fmt: skip

    assert isinstance(outcome, Passed)
    assert [item["metadata"]["name"] for item in outcome.value["items"]] == ["e2"]


def test_an_event_that_is_not_there(cluster: FakeCluster) -> None:
    assert attempt(cluster, **{"for": "pod/web-0"}, reason="FailedMount") == Failed(
        "0 events about pod/web-0, reason FailedMount, expected at least 1",
        expected="at least 1",
        actual="0",
        detail="there are others:\n  Normal Pulled pod/web-0: Container image is there\n"
        "  Warning BackOff pod/web-0: Back-off restarting (4 times)",
    )


def test_events_count_as_often_as_they_happened(cluster: FakeCluster) -> None:
    outcome = attempt(cluster, reason="BackOff", count={"lt": 3})

    assert isinstance(outcome, Failed)
    assert outcome.message == "4 events in the namespace, reason BackOff, expected lt 3"


def test_names_kinds_selectors_and_owners(cluster: FakeCluster) -> None:
    assert isinstance(attempt(cluster, **{"for": "pod/web-*"}, reason="Pulled"), Passed)
    assert isinstance(attempt(cluster, **{"for": "pods"}, selector="app=web", reason="Pulled"), Passed)
    assert isinstance(attempt(cluster, **{"for": "deployments"}, reason="Pulled"), Failed)
    none = attempt(cluster, **{"for": "pods"}, selector="app=other", reason="Pulled", count=0)
    assert none == Failed("there are no pods with app=other", "an object", "none")


def test_events_about_objects_without_a_namespace(cluster: FakeCluster) -> None:
    node = cluster.kube.get(cluster.kube.resource("nodes"), "worker-1")
    assert node is not None
    told = event("n1", node, "NodeReady")
    told["metadata"]["namespace"] = "default"
    cluster.add(told)

    assert isinstance(attempt(cluster, **{"for": "node/worker-1"}, reason="NodeReady"), Passed)


def test_absence_of_events_needs_something_that_could_have_them(cluster: FakeCluster) -> None:
    assert isinstance(attempt(cluster, **{"for": "pod/web-1"}, type="Warning", count=0), Passed)
    typo = attempt(cluster, **{"for": "pod/wbe-1"}, type="Warning", count=0)
    assert isinstance(typo, Failed)
    assert "pod/wbe-1 was never there" in typo.message
    given = context(cluster, may_not_exist=True)
    assert isinstance(attempt(given, **{"for": "pod/wbe-1"}, type="Warning", count=0), Passed)
    nothing = attempt(cluster, namespace="empty", type="Warning", count=0)
    assert isinstance(nothing, Failed)
    assert "nothing at all was told in this namespace" in nothing.message
    assert isinstance(attempt(cluster, reason="Evicted", count=0), Passed)


def test_that_nothing_is_ever_told_of_what_was_never_there_proves_nothing(cluster: FakeCluster) -> None:
    watched = context(cluster, negated=True)

    of_nothing = attempt(watched, **{"for": "pod/wbe-1"}, reason="BackOff")
    of_a_pod = attempt(watched, **{"for": "pod/web-1"}, reason="BackOff")

    assert of_nothing == Failed("pod/wbe-1 was never there", "some event", "none")
    assert isinstance(of_nothing, Failed)
    assert of_nothing.saw_nothing
    assert isinstance(of_a_pod, Failed)
    assert not of_a_pod.saw_nothing


def test_since_the_test_began_or_a_while_ago(cluster: FakeCluster) -> None:
    pod = cluster.get("pod", "web-0")
    assert pod is not None
    cluster.add(
        event("old", pod, "Killing", at="2026-01-01T10:00:00Z"),
        event("again", pod, "Unhealthy", at="2026-01-01T11:59:59Z", first="2026-01-01T10:00:00Z", count=9),
    )

    assert isinstance(attempt(cluster, reason="Killing"), Failed)
    assert isinstance(attempt(cluster, reason="Killing", since="all"), Passed)
    assert isinstance(attempt(cluster, reason="Unhealthy", since="10s", count=1), Passed)
    assert isinstance(attempt(cluster, reason="Pulled", since="10s"), Failed)  # the server's time is 12:00


def test_since_the_step_began(cluster: FakeCluster) -> None:
    given = context(cluster, lasts=True)
    assert isinstance(attempt(given, reason="BackOff", since="step", count=0), Passed)
    pod = cluster.get("pod", "web-0")
    assert pod is not None

    cluster.add(event("e2", pod, "BackOff", kind="Warning", message="Back-off restarting", count=6))

    outcome = attempt(given, reason="BackOff", since="step", count=0)
    assert isinstance(outcome, Failed)
    assert outcome.actual == "2"
    timeless = attempt(context(cluster), reason="BackOff", since="step", count=0)
    assert isinstance(timeless, Errored)
    assert timeless.final


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"selector": "a=b"}, "need a kind without a name"),
        ({"for": "pod/a", "owner": "deployment/web"}, "need a kind without a name"),
        ({"type": "warning"}, "'Normal' or 'Warning'"),
        ({"reason": {"matches": "("}}, "regular expression"),
        ({"count": {"about": 2}}, "count"),
    ],
)
def test_invalid(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Events.model_validate(fields)

"""How often containers have started anew."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.restarts import Restarts
from tests.fakes import NAMESPACE, FakeCluster, api_error, context, made, running_pod


def pod(name: str = "web-0", *, restarts: int = 0, ended: str = "2026-01-01T11:30:00Z", **more: Any) -> dict[str, Any]:
    made_pod = running_pod(name, app="web")
    made_pod["metadata"]["creationTimestamp"] = more.pop("created", "2026-01-01T10:00:00Z")
    status = made_pod["status"]["containerStatuses"][0]
    status["restartCount"] = restarts
    if restarts:
        status["lastState"] = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": ended}}
    return made_pod


@pytest.fixture
def cluster() -> FakeCluster:
    namespace = made("Namespace", NAMESPACE)
    namespace["metadata"]["creationTimestamp"] = "2026-01-01T11:00:00Z"
    return FakeCluster(namespace, pod())


def attempt(given: FakeCluster | StepContext, **fields: Any) -> Outcome:
    where = context(given) if isinstance(given, FakeCluster) else given
    return Restarts.model_validate(fields).attempt(where)


def test_never_restarted(cluster: FakeCluster) -> None:
    items = [{"pod": "web-0", "container": "main", "restarts": 0}]

    assert attempt(cluster, pods="app=web") == Passed("0 restarts of 1 container", {"restarts": 0, "items": items})


def test_a_restart_fails_for_good_and_tells_how_it_ended(cluster: FakeCluster) -> None:
    cluster.add(pod("web-1", restarts=2))
    cluster.kube.on_logs = lambda name: "allocating\nmore\n"

    assert attempt(cluster, pods="app=web") == Failed(
        "web-1, container main: 2 restarts; before, it ended with code 137 (OOMKilled)",
        expected="at most 0",
        actual="2",
        detail="its last lines:\n  | allocating\n  | more",
        final=True,
    )
    patient = attempt(context(cluster, patient=True), pods="app=web")
    assert isinstance(patient, Failed)
    assert not patient.final
    assert isinstance(attempt(cluster, pods="app=web", max=2), Passed)


def test_last_lines_that_can_not_be_had(cluster: FakeCluster) -> None:
    cluster.add(pod(restarts=1))
    cluster.kube.fail("logs", api_error(400, "previous terminated container not found"))

    outcome = attempt(cluster, pod="web-0")

    assert isinstance(outcome, Failed)
    assert outcome.detail == ""


@pytest.mark.parametrize(
    ("restarts", "ended", "created", "most", "kind"),
    [
        (3, "2026-01-01T10:30:00Z", "2026-01-01T10:00:00Z", 0, Passed),  # all of them before the test
        (3, "2026-01-01T11:30:00Z", "2026-01-01T10:00:00Z", 0, Failed),
        (3, "2026-01-01T11:30:00Z", "2026-01-01T10:00:00Z", 3, Passed),
        (3, "2026-01-01T11:30:00Z", "2026-01-01T10:00:00Z", 1, Errored),  # one, two or three of them
        (3, "2026-01-01T11:30:00Z", "2026-01-01T11:10:00Z", 2, Failed),  # the pod is younger than the test
    ],
)
def test_since_the_test_began(
    cluster: FakeCluster, restarts: int, ended: str, created: str, most: int, kind: type[Outcome]
) -> None:
    cluster.add(pod(restarts=restarts, ended=ended, created=created))

    assert isinstance(attempt(cluster, pod="web-0", since="test", max=most), kind)


def test_at_least_one_since_the_test_began(cluster: FakeCluster) -> None:
    cluster.add(pod(restarts=3))

    outcome = attempt(cluster, pod="web-0", since="test")

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith(
        "web-0, container main: at least 1 restart since the test began (3 in all); before,"
    )


def test_since_the_step_began(cluster: FakeCluster) -> None:
    cluster.add(pod(restarts=3))
    given = context(cluster)
    assert isinstance(attempt(given, pods="app=web", since="step"), Passed)

    cluster.add(pod(restarts=4))

    outcome = attempt(given, pods="app=web", since="step")
    assert isinstance(outcome, Failed)
    assert "1 restart since the step began (4 in all)" in outcome.message


def test_nothing_is_known_of_what_is_not_there_or_has_not_started(cluster: FakeCluster) -> None:
    starting = pod("web-1")
    starting["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    cluster.add(starting)

    outcome = attempt(cluster, pods="app=web")

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("web-1, container main hasn't started, so nothing is known of it")
    assert isinstance(attempt(cluster, pods="app=other"), Failed)
    assert isinstance(attempt(context(cluster, negated=True), pods="app=other"), Errored)
    assert isinstance(attempt(context(cluster, may_not_exist=True), pods="app=other"), Passed)
    assert isinstance(attempt(cluster, pod="web-0", container="no"), Errored)


def test_pods_of_a_component(cluster: FakeCluster) -> None:
    workload = made(
        "DaemonSet", "cni", api="apps/v1", namespace="kube-system", labels={"koalesce.dev/component": "cni"}
    )
    owned = made("Pod", "cni-x", namespace="kube-system", owner=("DaemonSet", "cni"))
    owned["metadata"]["ownerReferences"][0]["apiVersion"] = "apps/v1"
    owned["spec"] = {"containers": [{"name": "main"}]}
    owned["status"] = {"containerStatuses": [{"name": "main", "state": {"running": {}}, "restartCount": 1}]}
    cluster.add(workload, owned)
    given = context(cluster, variables={"components": {"cni": {"namespaces": ["kube-system"]}}})

    outcome = attempt(given, pods={"component": "cni"})

    assert isinstance(outcome, Failed)
    assert outcome.message == "kube-system/cni-x, container main: 1 restart"
    assert attempt(given, pods={"component": "dns"}) == Failed(
        "this spec has no component dns; it has cni", expected="a component", actual="none", final=True
    )


@pytest.mark.parametrize("fields", [{}, {"pod": "a", "pods": "b"}, {"pod": "a", "max": -1}, {"node": "a"}])
def test_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Restarts.model_validate(fields)

"""What a failure shows: what changed meanwhile, and why pods aren't ready; read aloud, in this order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from koalesce.engine.attempts import Looked
from koalesce.engine.explaining import Sights, explained
from koalesce.kube import View
from koalesce.kube.errors import LOGS_REMOVED
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from tests.fakes import FakeCluster, api_error, made


class FakeClock:
    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)


def pod(name: str, *, ready: bool = False, phase: str = "Running", **status: Any) -> dict[str, Any]:
    container = {"name": "c", "ready": ready, "restartCount": 0, "state": {"running": {}}}
    return made(
        "Pod", name, labels={"app": "web"},
        spec={"nodeName": "n1", "containers": [{"name": "c", "image": "web:1", "readinessProbe": {}}]},
        status={
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [container],
            **status,
        },
    )  # fmt: skip


def deployment(available: int = 0) -> dict[str, Any]:
    return made(
        "Deployment", "web", api="apps/v1",
        spec={"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
        status={"replicas": 2, "availableReplicas": available},
    )  # fmt: skip


def warning(about: tuple[str, str], reason: str, message: str, **more: Any) -> dict[str, Any]:
    kind, name = about
    return made(
        "Event", f"{name}.{reason.lower()}", involvedObject={"kind": kind, "name": name}, type="Warning", reason=reason,
        message=message, **{"lastTimestamp": "2026-01-01T00:00:01Z", **more},
    )  # fmt: skip


def explain(cluster: FakeCluster, outcome: Outcome, *, sights: Sights | None = None, **reads: str) -> Any:
    """The outcome of a step that had read a list of each plural with a selector."""
    for plural, selector in reads.items():
        cluster.view.list(cluster.kube.resource(plural), namespace="test-ns", selector=selector)
    return explained(Looked(outcome=outcome, attempts=1, seconds=1), cast(View, cluster.view), sights).outcome


def test_a_failure_tells_its_difference_then_what_changed_then_why() -> None:
    cluster = FakeCluster(pod("web-0"), warning(("Pod", "web-0"), "Unhealthy", "Readiness probe failed: 503", count=7))
    cluster.view.transitions = ["pod/web-0 Ready: False → True +1.2s → False +3.4s"]

    outcome = explain(cluster, Failed("pod/web-0: x is 1", "2", "1", ".x\n  expected 2\n  actual   1"), pods="app=web")

    assert outcome.message == "pod/web-0: x is 1"
    assert outcome.detail.splitlines() == [
        ".x",
        "  expected 2",
        "  actual   1",
        "what changed meanwhile:",
        "  pod/web-0 Ready: False → True +1.2s → False +3.4s",
        "why:",
        "  pod/web-0 container c runs, but its readiness probe hasn't passed; Unhealthy (7 times): Readiness probe failed: 503",
    ]


def test_a_workload_is_followed_to_its_pods() -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'}}
    broken = pod("web-1", containerStatuses=[{"name": "c", "ready": False, "state": waiting}])
    cluster = FakeCluster(deployment(1), pod("web-0", ready=True), broken, pod("done", phase="Succeeded"))

    outcome = explain(cluster, Failed("deployment/web: .status.availableReplicas is 1"), deployments="")

    assert outcome.detail == (
        'why:\n  pod/web-1 container c waits: CreateContainerConfigError: configmap "settings" not found'
    )


def test_a_service_is_followed_to_its_pods() -> None:
    service = made("Service", "web", spec={"selector": {"app": "web"}})

    outcome = explain(FakeCluster(service, pod("web-0")), Failed("no answer"), services="")

    assert outcome.detail == "why:\n  pod/web-0 container c runs, but its readiness probe hasn't passed"


def test_a_crash_is_told_with_the_last_words() -> None:
    status = {
        "name": "c", "ready": False, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
    }  # fmt: skip
    cluster = FakeCluster(pod("web-0", containerStatuses=[status]))
    cluster.kube.on_log_read = lambda _pod, options: f"starting\nno config ({options['previous']})\n\n"

    outcome = explain(cluster, Failed("not Ready"), pods="")

    assert outcome.detail == (
        "why:\n  pod/web-0 container c crashes (2 restarts): ended with code 3 (Error); its last words: no config (True)"
    )


def test_what_the_message_says_is_not_said_again() -> None:
    cluster = FakeCluster(pod("web-0"))

    outcome = explain(
        cluster, Failed("0 of 1; pod/web-0 container c runs, but its readiness probe hasn't passed"), pods=""
    )

    assert outcome.detail == ""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Ready is False", "pod/web-0 container c runs, but its readiness probe hasn't passed; Unhealthy: 503"),
        ("pod web-0: container c runs, but its readiness probe hasn't passed", "pod/web-0: Unhealthy: 503"),
    ],
)
def test_a_reason_that_adds_something_is_told(said: str, why: str) -> None:
    cluster = FakeCluster(pod("web-0"), warning(("Pod", "web-0"), "Unhealthy", "503"))

    assert explain(cluster, Failed(said), pods="").detail == f"why:\n  {why}"


def test_what_the_history_tells_the_looks_do_not() -> None:
    cluster = FakeCluster()
    cluster.view.transitions = ["pod/web-0 phase: Pending → Running +1.0s"]
    sights = sights_of((0, Failed("", actual='"Pending"')), (1, Failed("", actual='"Running"')))

    assert explain(cluster, Failed("no"), sights=sights).detail == (
        "what changed meanwhile:\n  pod/web-0 phase: Pending → Running +1.0s"
    )


def test_the_scheduler_is_not_quoted_twice() -> None:
    said = "0/3 nodes are available: 3 Insufficient cpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
    found = pod("web-0", conditions=[condition])
    cluster = FakeCluster(found, warning(("Pod", "web-0"), "FailedScheduling", said))

    outcome = explain(cluster, Failed("not Ready"), pods="")

    assert outcome.detail == f"why:\n  pod/web-0 is not scheduled: Unschedulable: {said}"


def test_a_workload_without_pods_is_told_by_its_last_warning() -> None:
    older = warning(("Deployment", "web"), "Old", "before", lastTimestamp="2025-01-01T00:00:00Z")
    newer = warning(("Deployment", "web"), "FailedCreate", "exceeded quota: pods=1")
    other = warning(("Deployment", "other"), "FailedCreate", "not about it", lastTimestamp="2027-01-01T00:00:00Z")

    outcome = explain(FakeCluster(deployment(), older, newer, other), Failed("0 of 2"), deployments="")

    assert outcome.detail == "why:\n  deployment/web: FailedCreate: exceeded quota: pods=1"


def test_many_reasons_are_counted() -> None:
    cluster = FakeCluster(*[pod(f"web-{number}") for number in range(7)])

    lines = explain(cluster, Failed("0 of 7"), pods="").detail.splitlines()

    assert len(lines) == 6
    assert lines[-1] == "  … and 3 more"


def test_of_many_that_crash_a_few_are_asked_for_their_last_words() -> None:
    status = {
        "name": "c", "ready": False, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3}},
    }  # fmt: skip
    cluster = FakeCluster(*[pod(f"web-{number}", containerStatuses=[status]) for number in range(50)])
    cluster.kube.on_logs = lambda _pod: "no config"

    lines = explain(cluster, Failed("0 of 50"), pods="").detail.splitlines()

    assert [line.endswith("its last words: no config") for line in lines[1:]] == [True] * 4 + [False]
    assert lines[-1] == "  … and 46 more"
    assert len([verb for verb, _ in cluster.kube.requests if verb == "logs"]) == 4


def test_last_words_are_asked_for_again_where_the_container_was_just_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.explaining._PAUSE", 0)
    status = {
        "name": "c", "ready": False, "restartCount": 2, "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 3}},
    }  # fmt: skip
    cluster = FakeCluster(pod("web-0", containerStatuses=[status]))
    answers = ["no config", None, None]

    def logs(_pod: str) -> str:
        if answer := answers.pop() if answers else None:
            return answer
        raise api_error(404, "failed to open log file", reason=LOGS_REMOVED)

    cluster.kube.on_logs = logs

    assert "its last words: no config" in explain(cluster, Failed("0 of 1"), pods="").detail
    assert "last words" not in explain(cluster, Failed("0 of 1"), pods="").detail


def test_an_api_server_that_does_not_answer_leaves_the_failure_as_it_is() -> None:
    cluster = FakeCluster(deployment())
    cluster.view.list(cluster.kube.resource("deployments"), namespace="test-ns", selector="")
    seen = cluster.view.last_seen()
    cluster.view.last_seen = lambda: seen  # type: ignore[method-assign]
    cluster.kube.fail("list", *[api_error(500, "no")] * 10)

    assert explain(cluster, Failed("0 of 2", "2", "0")) == Failed("0 of 2", "2", "0")


def test_what_passed_and_what_all_is_well_with_asks_nothing() -> None:
    cluster = FakeCluster(deployment(2), pod("web-0"), made("ConfigMap", "c"))
    asked: list[str] = []
    cluster.view.list(cluster.kube.resource("deployments"), namespace="test-ns")
    cluster.view.list(cluster.kube.resource("configmaps"), namespace="test-ns")
    seen = cluster.view.last_seen()
    cluster.view.last_seen = lambda: seen  # type: ignore[method-assign]
    cluster.kube.list = lambda *_, **__: asked.append("list") or []  # type: ignore[method-assign,assignment]

    assert explain(cluster, Passed("fine")) == Passed("fine")
    assert explain(cluster, Failed("the label is missing")) == Failed("the label is missing")
    assert asked == []


def test_an_error_is_told_with_what_changed() -> None:
    cluster = FakeCluster(pod("web-0"))
    cluster.view.transitions = ["pod/web-0 phase: Pending → Running +0.1s"]

    outcome = explain(cluster, Errored("could not find out", "for a reason", final=True), pods="")

    assert outcome == Errored(
        "could not find out",
        "for a reason\nwhat changed meanwhile:\n  pod/web-0 phase: Pending → Running +0.1s",
        final=True,
    )


def test_of_many_changes_the_minor_ones_are_left_out_first() -> None:
    cluster = FakeCluster()
    cluster.view.transitions = [
        f"pod/web-{n} {what}: False → True +1.0s" for n in range(6) for what in ("Initialized", "Ready")
    ]

    lines = explain(cluster, Failed("no")).detail.splitlines()

    assert lines == ["what changed meanwhile:", *[f"  pod/web-{n} Ready: False → True +1.0s" for n in range(6)]]


def sights_of(*looks: tuple[float, Outcome]) -> Sights:
    clock = FakeClock()
    sights = Sights(clock)
    for seconds, outcome in looks:
        clock.time = 100 + seconds
        sights.note(outcome)
    return sights


def test_a_value_that_changed_is_told_with_its_times() -> None:
    sights = sights_of(
        (0, Failed("", actual="missing")), (0.5, Failed("", actual='"1"')), (0.6, Failed("", actual='"1"')),
        (3, Failed("", actual='"2"')),
    )  # fmt: skip

    outcome = explain(FakeCluster(), Failed("no"), sights=sights)

    assert outcome.detail == 'what changed meanwhile:\n  looks saw: missing → "1" +0.5s → "2" +3.0s'


@pytest.mark.parametrize(
    "looks",
    [
        [(0, Failed("", actual="1")), (5, Failed("", actual="1"))],
        [(0, Failed("", actual="False")), (5, Passed("")), (6, Failed("", actual="False"))],
        [(0, Failed("", actual="missing")), (5, Failed("", actual="False"))],
        [(0, Errored("no answer")), (5, Failed("no value"))],
    ],
)  # fmt: skip
def test_a_value_that_stayed_or_that_the_history_tells_is_not_told(looks: list[tuple[float, Outcome]]) -> None:
    assert sights_of(*looks).lines() == []

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Failed, Passed
from tests.fakes import FakeCluster, api_error, context, made, merge, step

RESTART = "rollout: {resource: deployment/web, restart: true}"


class Cluster(FakeCluster):
    """Has a Deployment whose generation goes up with each change, as the API server counts."""

    def __init__(self, **spec: Any) -> None:
        super().__init__()
        containers = [{"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"}]
        template = {"spec": {"containers": containers, "initContainers": [{"name": "init", "image": "init:1"}]}}
        self.put(1, {"replicas": 1, "template": template, **spec}, observed=1)
        plain = self.kube.patch

        def patch(resource: Any, name: str, namespace: str | None, body: Any, **options: Any) -> dict[str, Any]:
            before = self.get("deployment", "web")
            assert before is not None
            if options["type"] == "strategic":
                _by_name(before["spec"]["template"]["spec"], body["spec"]["template"])
            if options["type"] == "json":
                body = {"spec": {"template": {**dict.fromkeys(before["spec"]["template"]), **body[0]["value"]}}}
            after = merge(before["spec"], body["spec"])
            generation = before["metadata"]["generation"] + (after != before["spec"])
            return plain(resource, name, namespace, {"metadata": {"generation": generation}, "spec": after}, **options)

        self.kube.patch = patch  # type: ignore[method-assign,assignment]

    def put(self, generation: int, spec: dict[str, Any] | None = None, *, observed: int, **status: Any) -> None:
        now = self.get("deployment", "web") or {"spec": spec}
        obj = made("Deployment", "web", api="apps/v1", spec=spec or now["spec"])
        obj["metadata"]["generation"] = generation
        obj["status"] = {
            "observedGeneration": observed,
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": 1,
            **status,
        }
        self.add(obj)

    def revision(self, number: int, image: str) -> None:
        owner = self.get("deployment", "web")
        assert owner is not None
        template = {**owner["spec"]["template"], "metadata": {"labels": {"pod-template-hash": f"h{number}"}}}
        template["spec"] = {**template["spec"], "containers": [{"name": "web", "image": image}]}
        obj = made("ReplicaSet", f"web-{number}", api="apps/v1", spec={"template": template})
        obj["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": str(number)}
        obj["metadata"]["ownerReferences"] = [{"uid": owner["metadata"]["uid"], "kind": "Deployment", "name": "web"}]
        self.add(obj)

    @property
    def images(self) -> list[str]:
        obj = self.get("deployment", "web")
        assert obj is not None
        return [one["image"] for one in obj["spec"]["template"]["spec"]["containers"]]


def _by_name(pod: dict[str, Any], patch: dict[str, Any]) -> None:
    """Complete lists of containers, so that a plain merge does what a strategic one would."""
    for field, items in (patch.get("spec") or {}).items():
        changed = {item["name"]: item for item in items}
        patch["spec"][field] = [merge(item, changed.get(item["name"], {})) for item in pod[field]]


def test_waits_for_the_controller_and_for_the_pods() -> None:
    cluster = Cluster()
    rollout, same_step = step(RESTART), context(cluster)

    first = rollout.attempt(same_step)
    cluster.put(2, observed=2, availableReplicas=0)
    second = rollout.attempt(same_step)
    cluster.put(2, observed=2)
    third = rollout.attempt(same_step)

    assert first == Failed("deployment/web: its controller hasn't seen the latest spec yet")
    assert isinstance(second, Failed)
    assert "0 of 1 replicas are available" in second.message
    assert isinstance(third, Passed)
    assert (third.message, third.value) == ("rolled out deployment/web", cluster.get("deployment", "web"))
    assert [verb for verb, _ in cluster.kube.requests] == ["patch"]


def test_a_rollout_over_its_deadline_fails_at_once() -> None:
    cluster = Cluster()
    rollout, same_step = step(RESTART), context(cluster)

    rollout.attempt(same_step)
    stuck = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "stuck"}]
    cluster.put(2, observed=2, updatedReplicas=0, conditions=stuck)
    outcome = rollout.attempt(same_step)

    assert isinstance(outcome, Failed)
    assert (outcome.message, outcome.final) == ("deployment/web exceeded its progress deadline: stuck", True)


def test_need_not_wait() -> None:
    outcome = step(RESTART.replace("restart", "wait: false, restart")).attempt(context(Cluster()))

    assert isinstance(outcome, Passed)
    assert outcome.message == "began to roll out deployment/web"


def test_each_restart_is_another() -> None:
    cluster = Cluster()

    generations = []
    for _ in range(2):
        step(RESTART).attempt(context(cluster))
        generations.append((cluster.get("deployment", "web") or {})["metadata"]["generation"])

    assert generations == [2, 3]


@pytest.mark.parametrize(("way", "undos"), [("restart: true", 0), ('image: {web: "web:2"}', 1)])
def test_a_restart_leaves_nothing_to_put_back(way: str, undos: int) -> None:
    cluster = Cluster()

    step(f"rollout: {{resource: deployment/web, {way}}}").attempt(context(cluster, expects_refusal=True))

    assert len(cluster.scope.deferred) == undos


def test_images_are_set_by_container() -> None:
    cluster = Cluster()

    step("rollout: {resource: deployment/web, image: {web: 'web:2', init: 'init:2'}}").attempt(context(cluster))

    spec = (cluster.get("deployment", "web") or {})["spec"]["template"]["spec"]
    assert cluster.images == ["web:2", "side:1"]
    assert spec["initContainers"] == [{"name": "init", "image": "init:2"}]


@pytest.mark.parametrize(
    ("fields", "spec", "message"),
    [
        ("image: {wep: x}", {}, "has no container wep; it has init, web, side"),
        ("image: {web: 'web:1'}", {}, "is so already: nothing was rolled out"),
        ("restart: true", {"paused": True}, "is paused: nothing is rolled out until spec.paused is false"),
        ("restart: true", {"updateStrategy": {"type": "OnDelete"}}, "has the update strategy OnDelete"),
        ("undo: true", {}, "has no revision before this one"),
        ("undo: {to: 7}", {}, "has no revision 7; there is none"),
    ],
)
def test_what_would_roll_out_nothing_fails(fields: str, spec: dict[str, Any], message: str) -> None:
    outcome = step(f"rollout: {{resource: deployment/web, {fields}}}").attempt(context(Cluster(**spec)))

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("deployment/web in test-ns ")
    assert message in outcome.message
    assert outcome.final


def test_a_kind_without_rollouts_fails() -> None:
    with pytest.raises(ValidationError, match="configmaps have no rollout; DaemonSet, Deployment, StatefulSet have"):
        step("rollout: {resource: cm/c, restart: true}")
    cluster = FakeCluster()
    cluster.kube.define("Widget", "widgets", group="example.com")
    cluster.add(made("Widget", "w", api="example.com/v1", namespace="test-ns"))

    outcome = step("rollout: {resource: widgets.example.com/w, restart: true}").attempt(context(cluster))

    assert isinstance(outcome, Failed)
    assert outcome.message.endswith(" has no rollout; DaemonSet, Deployment, StatefulSet have")
    assert outcome.saw_nothing


@pytest.mark.parametrize(("undo", "image"), [("true", "web:2"), ("{to: 1}", "web:1")])
def test_goes_back_to_an_earlier_revision(undo: str, image: str) -> None:
    cluster = Cluster()
    for number in (1, 2, 3):
        cluster.revision(number, f"web:{number}")
    now = cluster.get("replicaset", "web-3")
    assert now is not None
    template = {**now["spec"]["template"], "metadata": {"labels": {}}}
    cluster.put(3, {"replicas": 1, "template": template}, observed=3)

    step(f"rollout: {{resource: deployment/web, undo: {undo}}}").attempt(context(cluster))

    assert cluster.images == [image]


def test_a_refusal_fails_and_a_server_that_is_not_ready_is_asked_again() -> None:
    cluster = Cluster()
    cluster.kube.fail("patch", api_error(503, "busy"), api_error(403, "no", reason="Forbidden"))
    rollout, same_step = step(RESTART), context(cluster)

    with pytest.raises(Exception, match="busy") as raised:
        rollout.attempt(same_step)
    refused = rollout.attempt(same_step)

    assert raised.value.transient  # type: ignore[attr-defined]
    assert refused == Failed("deployment/web in test-ns: no", actual="Forbidden", final=True)


def test_what_is_deleted_meanwhile_fails() -> None:
    cluster = Cluster()
    rollout, same_step = step(RESTART), context(cluster)

    rollout.attempt(same_step)
    cluster.kube.remove("deployment", "web", "test-ns")

    assert rollout.attempt(same_step) == Failed(
        "deployment/web in test-ns was deleted while it was rolled out", final=True
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{resource: deployment/web}", "rollout needs exactly one of restart, image, undo; got none"),
        ("{resource: deployment/web, restart: true, undo: true}", "got restart and undo"),
        ("{resource: deployment, restart: true}", "rollout deployment: write either KIND/NAME, or KIND and a selector"),
        ("{resource: deployment/web, undo: {to: 0}}", "greater than or equal to 1"),
        ("{resource: deployment/web, image: {}}", "at least 1 item"),
    ],
)
def test_what_makes_no_sense_is_invalid(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(f"rollout: {text}")

    assert problem in str(raised.value)

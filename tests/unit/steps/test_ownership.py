"""Who may change which objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from koalesce.kube import ApiError
from koalesce.steps.base import Errored, Outcome, Passed
from koalesce.steps.objects.ownership import disruptive_only
from tests.fakes import FakeCluster, context, made, step

RUN = {"koalesce.dev/run": "r1"}
COMPONENT = {**RUN, "koalesce.dev/component": "web"}
SETUP = {**RUN, "koalesce.dev/test": "setup"}
OTHER_TEST = {**RUN, "koalesce.dev/test": "t2"}
OTHER_RUN = {"koalesce.dev/run": "r2", "koalesce.dev/test": "t1"}

CHANGES = {
    "apply": "apply: {namespace: elsewhere, object: {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}}",
    "update": "update: {namespace: elsewhere, object: {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}}",
    "patch": "patch: {namespace: elsewhere, resource: deployment/web, merge: {spec: {paused: true}}}",
    "label": "label: {namespace: elsewhere, resource: deployment/web, labels: {a: b}}",
    "annotate": "annotate: {namespace: elsewhere, resource: deployment/web, annotations: {a: b}}",
}
DISTURBING = {
    "scale": "scale: {namespace: elsewhere, resource: deployment/web, replicas: 0}",
    "roll out": "rollout: {namespace: elsewhere, resource: deployment/web, restart: true, wait: false}",
    "delete": "delete: {namespace: elsewhere, resource: deployment/web}",
}
ALL = {**CHANGES, **DISTURBING}


def cluster_with(labels: Mapping[str, str], of_namespace: Mapping[str, str] | None = None) -> FakeCluster:
    deployment = made("Deployment", "web", api="apps/v1", namespace="elsewhere", labels=labels, spec={"replicas": 1})
    deployment["spec"]["template"] = {"spec": {"containers": [{"name": "web", "image": "web"}]}}
    return FakeCluster(deployment, made("Namespace", "elsewhere", labels=of_namespace))


def done(text: str, cluster: FakeCluster, **more: Any) -> Outcome:
    given, wanted = context(cluster, **more), step(text)
    outcome: Outcome = wanted.act(given) if hasattr(wanted, "act") else wanted.attempt(given)
    return outcome


def is_changed(cluster: FakeCluster) -> bool:
    return any(verb in ("apply", "replace", "patch", "delete") for verb, _ in cluster.kube.requests)


def refused(outcome: Outcome, cluster: FakeCluster, owner: str) -> bool:
    assert isinstance(outcome, Errored), outcome
    assert outcome.message.startswith(f"deployment/web in elsewhere belongs to {owner}"), outcome.message
    assert outcome.final
    return not is_changed(cluster)


@pytest.mark.parametrize("verb", ALL)
def test_what_is_the_clusters_takes_a_disruptive_test(verb: str) -> None:
    cluster = cluster_with({})

    rule = f"the cluster; {disruptive_only(verb if verb in DISTURBING else 'change')}"
    assert refused(done(ALL[verb], cluster), cluster, rule)

    done(ALL[verb], cluster, disruptive=True)
    assert is_changed(cluster)


@pytest.mark.parametrize("verb", ALL)
@pytest.mark.parametrize("labels", [OTHER_RUN, OTHER_TEST])
def test_what_is_anothers_is_not_touched(verb: str, labels: Mapping[str, str]) -> None:
    cluster = cluster_with(labels)

    assert refused(done(ALL[verb], cluster), cluster, "another run" if labels is OTHER_RUN else "another test")


@pytest.mark.parametrize("verb", ALL)
def test_what_another_run_is_just_removing_is_waited_for(verb: str) -> None:
    cluster = cluster_with(OTHER_RUN)
    cluster.kube.objects[("apps", "deployments", "elsewhere", "web")]["metadata"]["deletionTimestamp"] = (
        "2026-01-01T12:00:00Z"
    )

    with pytest.raises(ApiError) as error:
        done(ALL[verb], cluster)

    assert error.value.message == "deployment/web in elsewhere of another run (koalesce.dev/run=r2) is being deleted"
    assert error.value.transient  # so the step tries again, as long as it has time
    assert not is_changed(cluster)


def test_a_namespace_of_an_earlier_run_is_made_again_once_it_is_gone() -> None:
    namespace = made("Namespace", "shared", labels=OTHER_RUN)
    namespace["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    cluster = FakeCluster(namespace)
    given, apply = (
        context(cluster),
        step("apply: {object: {apiVersion: v1, kind: Namespace, metadata: {name: shared}}}"),
    )

    with pytest.raises(ApiError, match=r"namespace/shared of another run .* is being deleted"):
        apply.act(given)  # type: ignore[attr-defined]  # it's an action
    del cluster.kube.objects[("", "namespaces", "", "shared")]

    assert apply.act(given) == Passed(
        "applied namespace/shared", cluster.kube.objects[("", "namespaces", "", "shared")]
    )  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", ALL)
def test_not_even_a_disruptive_test_touches_another_runs(verb: str) -> None:
    cluster = cluster_with(OTHER_RUN)

    outcome = done(ALL[verb], cluster, disruptive=True)

    assert refused(outcome, cluster, "another run (koalesce.dev/run=r2); a test may change only what it made")


@pytest.mark.parametrize("labels", [COMPONENT, SETUP])
@pytest.mark.parametrize("verb", CHANGES)
def test_what_all_tests_share_may_be_changed_and_stays_its_owners(verb: str, labels: Mapping[str, str]) -> None:
    cluster = cluster_with(labels)

    done(CHANGES[verb], cluster)

    assert is_changed(cluster)
    found = cluster.get("deployment", "web", "elsewhere")
    assert found is not None
    assert {key: value for key, value in found["metadata"]["labels"].items() if key != "a"} == labels
    assert [what for what, _ in cluster.scope.deferred] == ["put deployment/web in elsewhere back"]


@pytest.mark.parametrize(("labels", "owner"), [(COMPONENT, "the component web"), (SETUP, "the spec's setup")])
@pytest.mark.parametrize("verb", DISTURBING)
def test_what_all_tests_share_is_not_taken_away(verb: str, labels: Mapping[str, str], owner: str) -> None:
    cluster = cluster_with(labels)

    rule = f"{owner}; {disruptive_only(verb)}"
    assert refused(done(DISTURBING[verb], cluster), cluster, rule)


@pytest.mark.parametrize("verb", ALL)
def test_what_a_controller_made_in_a_namespace_of_the_tests_own_is_its_own(verb: str) -> None:
    cluster = cluster_with({}, of_namespace={**RUN, "koalesce.dev/test": "t1"})

    done(ALL[verb], cluster)

    assert is_changed(cluster)
    assert cluster.scope.deferred == []  # it goes with its namespace


def test_without_a_test_everything_may_be_changed() -> None:
    cluster = cluster_with({})

    done(CHANGES["patch"], cluster, labels={})

    assert is_changed(cluster)


def test_it_is_said_as_people_say_it() -> None:
    assert disruptive_only("roll out") == "only a test that says disruptive: true may roll it out"
    assert disruptive_only("scale") == "only a test that says disruptive: true may scale it"

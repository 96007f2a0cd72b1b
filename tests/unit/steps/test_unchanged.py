from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Failed, Passed
from tests.fakes import FakeCluster, context, made, step


def web(**status: Any) -> dict[str, Any]:
    return made("Deployment", "web", api="apps/v1", spec={"replicas": 2}, status=status)


def test_what_stays_passes_at_every_look() -> None:
    cluster = FakeCluster(web(replicas=2))
    same_step = context(cluster)
    unchanged = step("unchanged: {resource: deploy/web}")

    assert unchanged.attempt(same_step) == Passed("deploy/web unchanged", cluster.get("deploy", "web"))
    cluster.add(web(replicas=2))  # with a new resourceVersion
    assert isinstance(unchanged.attempt(same_step), Passed)


def test_what_moves_fails_with_what_it_was() -> None:
    cluster = FakeCluster(web(replicas=2))
    same_step = context(cluster)
    unchanged = step("unchanged: {resource: deploy/web}")
    unchanged.attempt(same_step)

    cluster.add(web(replicas=3, readyReplicas=1))

    assert unchanged.attempt(same_step) == Failed(
        "deployment/web: .status.replicas changed from 2 to 3 (and 1 more change)",
        "2",
        "3",
        "deployment/web: .status.replicas changed from 2 to 3\n"
        "deployment/web: .status.readyReplicas changed from missing to 1",
    )
    assert isinstance(unchanged.attempt(same_step), Passed), "what has come to rest is what counts from then on"


def test_only_the_paths_that_are_named_count() -> None:
    cluster = FakeCluster(web(replicas=2, readyReplicas=2))
    same_step = context(cluster)
    unchanged = step("unchanged: {resource: deploy/web, path: '{.spec.replicas}', paths: ['{.status.replicas}']}")
    unchanged.attempt(same_step)

    cluster.add(web(replicas=2, readyReplicas=1))
    assert isinstance(unchanged.attempt(same_step), Passed)
    cluster.add(web(readyReplicas=1))
    outcome = unchanged.attempt(same_step)

    assert isinstance(outcome, Failed)
    assert outcome.message == "deployment/web: {.status.replicas}[0] changed from 2 to missing"


def test_what_is_ignored_may_move() -> None:
    cluster = FakeCluster(web(conditions=[{"type": "Ready", "at": 1}], seen=1))
    same_step = context(cluster)
    unchanged = step("unchanged: {resource: deploy/web, ignore: ['{.status.conditions[*].at}', '{.status.seen}']}")
    unchanged.attempt(same_step)

    cluster.add(web(conditions=[{"type": "Ready", "at": 2}], seen=2))
    assert isinstance(unchanged.attempt(same_step), Passed)
    cluster.add(web(conditions=[{"type": "Other", "at": 2}], seen=2))
    assert isinstance(unchanged.attempt(same_step), Failed)


def test_objects_that_come_go_or_are_replaced_have_moved() -> None:
    cluster = FakeCluster(made("Pod", "a", labels={"app": "web"}))
    same_step = context(cluster)
    unchanged = step("unchanged: {resource: pods, selector: app=web, path: '{.metadata.name}'}")
    assert isinstance(unchanged.attempt(same_step), Passed)

    cluster.add(made("Pod", "b", labels={"app": "web"}))
    assert unchanged.attempt(same_step).message == "pod/b has come"
    cluster.kube.remove("pod", "b", "test-ns")
    assert unchanged.attempt(same_step).message == "pod/b has gone"
    cluster.kube.remove("pod", "a", "test-ns")
    cluster.add(made("Pod", "a", labels={"app": "web"}))
    assert unchanged.attempt(same_step).message == "pod/a was replaced by another one of this name"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("resource: deploy/other", "deploy/other does not exist"),
        ("resource: deployments, selector: app=x", "deployments with app=x aren't there"),
        ("resource: deploy/web, path: '{.status.rank}'", "deployment/web: {.status.rank} matched nothing; nearest existing prefix is .status"),
        ("resource: widgets", 'widgets: the server has no kind "widgets", so there is nothing to look at'),
    ],
)  # fmt: skip
def test_of_nothing_it_can_not_be_said(fields: str, message: str) -> None:
    outcome = step(f"unchanged: {{{fields}}}").attempt(context(FakeCluster(web(replicas=2))))

    assert outcome == Failed(message, outcome.expected, outcome.actual)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("path: '{.a'", "a { has no }"),
        ("ignore: '{.a[0]}'", "{.a[0]} can't be left out: a path here ends with a field, or with [*]"),
        ("ignore: 'x{.a}'", "can't be left out"),
    ],
)
def test_what_makes_no_sense_is_invalid(fields: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(f"unchanged: {{resource: deploy/web, {fields}}}")

    assert problem in str(raised.value)


@pytest.mark.parametrize(
    "fields",
    [
        "path: '{.status.conditions}', ignore: '{.status.conditions[*].type}'",
        "path: '{.status}', ignore: ['{.status.conditions[*]}', '{.status.replicas}']",
        "ignore: ['{.spec}', '{.status}']",
    ],
)
def test_nothing_that_could_move_is_no_rest(fields: str) -> None:
    cluster = FakeCluster(web(replicas=2, conditions=[{"type": "Ready"}]))

    outcome = step(f"unchanged: {{resource: deploy/web, {fields}}}").attempt(context(cluster))

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("deployment/web: ignore leaves out all of ")
    assert outcome.saw_nothing


def test_what_is_empty_by_itself_may_stay_so() -> None:
    cluster = FakeCluster(web(conditions=[], replicas=1))
    same_step = context(cluster)
    unchanged = step("unchanged: {resource: deploy/web, path: '{.status.conditions}', ignore: '{.status.replicas}'}")

    assert isinstance(unchanged.attempt(same_step), Passed)
    cluster.add(web(conditions=[{"type": "Ready"}]))
    assert isinstance(unchanged.attempt(same_step), Failed)


def test_a_counter_that_is_named_counts_whatever_is_ignored_beside_it() -> None:
    cluster = FakeCluster(web(replicas=2))
    same_step = context(cluster)
    unchanged = step("unchanged: {resource: deploy/web, path: '{.metadata.resourceVersion}', ignore: '{.status.x}'}")
    unchanged.attempt(same_step)

    cluster.add(web(replicas=2))

    assert isinstance(unchanged.attempt(same_step), Failed)


@pytest.mark.parametrize("ignored", ["{.status}", "{.status.conditions}", "{.status.conditions[*]}", "{.status[*]}"])
def test_a_path_that_is_ignored_as_a_whole_is_invalid(ignored: str) -> None:
    with pytest.raises(ValidationError, match="nothing could be seen to move"):
        step(f"unchanged: {{resource: deploy/web, path: '{{.status.conditions}}', ignore: '{ignored}'}}")

"""Putting back what a step changed of objects that are not its test's own."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.errors import ClusterError
from koalesce.kube import ApiError
from koalesce.steps.base import Passed
from koalesce.steps.objects.ownership import Place
from koalesce.steps.objects.undoing import Restoration, reversal
from tests.fakes import FakeCluster, api_error, context, made, merge, step


@pytest.mark.parametrize(
    ("before", "after", "current"),
    [
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {}),
        ({}, {"a": 1}, {"a": 1}),
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 1}}, {"a": {"b": 2, "c": 1}}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({"a": [1]}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": {"c": 1}}}, {"a": {}}, {"a": {}}),
        ({"a": {"b": {"c": 1}}}, {"a": {"d": 1}}, {"a": {"d": 1}}),
        ({"a": [1, 2]}, {"a": [2]}, {"a": [2]}),
    ],
)
def test_a_change_is_put_back_as_it_was(before: Any, after: Any, current: Any) -> None:
    patch, lost = reversal(before, after, current)

    assert (merge(current, patch), lost) == (before, [])


def test_what_others_added_beside_it_stays() -> None:
    before, after = {"labels": {"a": "1"}}, {"labels": {"a": "2", "b": "1"}}
    current = {"labels": {"a": "2", "b": "1", "theirs": "x"}, "spec": {"theirs": 1}}

    patch, lost = reversal(before, after, current)

    assert (merge(current, patch), lost) == ({"labels": {"a": "1", "theirs": "x"}, "spec": {"theirs": 1}}, [])


def test_what_others_changed_since_is_lost() -> None:
    patch, lost = reversal({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 2}}, {"a": {"b": 3, "c": 2}})

    assert (patch, lost) == ({"a": {"c": 1}}, [".a.b"])


def test_what_is_back_already_is_left() -> None:
    assert reversal({"a": 1}, {"a": 2}, {"a": 1}) == ({}, [])


LABEL = "label: {resource: node/worker-1, labels: {a: b}}"


def test_two_changes_of_one_object_are_put_back_in_reverse() -> None:
    cluster = FakeCluster(made("Node", "worker-1", labels={"x": "y"}))
    same_test = {"disruptive": True, "sightings": context(cluster).sightings}

    step(LABEL).act(context(cluster, **same_test))
    step(LABEL.replace("a: b", "a: c").replace("labels:", "overwrite: true, labels:")).act(
        context(cluster, **same_test)
    )
    whats = [what for what, _ in cluster.scope.deferred]
    cluster.scope.unwind()

    assert whats == ["put node/worker-1 back", "put node/worker-1 back (2)"]
    node = cluster.get("node", "worker-1")
    assert node is not None
    assert node["metadata"]["labels"] == {"x": "y"}


def test_a_refused_change_leaves_nothing_to_put_back() -> None:
    cluster = FakeCluster(made("Node", "worker-1"))
    cluster.kube.fail("patch", api_error(403, "no", reason="Forbidden"))

    with pytest.raises(ApiError):
        step(LABEL).act(context(cluster, disruptive=True))
    cluster.kube.requests.clear()
    cluster.add(made("Node", "worker-1", labels={"theirs": "x"}))
    cluster.scope.unwind()

    assert cluster.kube.requests == []


def test_a_change_whose_answer_was_lost_is_put_back_once_it_is_known() -> None:
    cluster = FakeCluster(made("Node", "worker-1"))
    cluster.kube.fail("patch", api_error(0, "reset", reason="ConnectionReset"))
    same_step = context(cluster, disruptive=True)

    with pytest.raises(ApiError):
        step(LABEL).act(same_step)
    assert isinstance(step(LABEL).act(same_step), Passed)
    assert len(cluster.scope.deferred) == 1
    cluster.scope.unwind()

    node = cluster.get("node", "worker-1")
    assert node is not None
    assert not node["metadata"].get("labels")


def test_a_change_that_nobody_knows_the_end_of_is_told() -> None:
    cluster = FakeCluster(made("Node", "worker-1"))
    cluster.kube.fail("patch", api_error(0, "reset", reason="ConnectionReset"))
    with pytest.raises(ApiError):
        step(LABEL).act(context(cluster, disruptive=True))
    cluster.add(made("Node", "worker-1", labels={"a": "b"}))

    with pytest.raises(ClusterError, match="it isn't known what came of the change"):
        cluster.scope.unwind()


def test_nothing_is_put_back_of_what_is_gone() -> None:
    cluster = FakeCluster(made("Node", "worker-1"))
    step(LABEL).act(context(cluster, disruptive=True))
    cluster.kube.remove("node", "worker-1")

    cluster.scope.unwind()

    assert cluster.get("node", "worker-1") is None


@pytest.mark.parametrize("kind", ["Node", "Namespace"])
def test_what_a_copy_would_not_be_is_not_made_again(kind: str) -> None:
    cluster = FakeCluster(made(kind, "x"))

    step(f"delete: {kind.lower()}/x").attempt(context(cluster, disruptive=True))

    assert cluster.scope.deferred == []


def test_how_often_the_server_has_counted_a_change_is_nobody_s_change() -> None:
    def daemons(image: str, changes: int) -> dict[str, Any]:
        found = made("DaemonSet", "agent", api="apps/v1", namespace="kube-system", spec={"image": image})
        found["metadata"]["annotations"] = {"deprecated.daemonset.template.generation": str(changes)}
        return found

    cluster = FakeCluster(daemons("b", 4))  # another change has come and gone since
    place = Place(cluster.real().kube, cluster.kube.resource("daemonsets"), "agent", "kube-system")
    restoration = Restoration(place, daemons("a", 1))
    restoration.note(daemons("b", 2))

    restoration.undo()

    found = cluster.get("daemonset", "agent", "kube-system")
    assert found is not None
    assert (found["spec"], found["metadata"]["annotations"]) == (
        {"image": "a"},
        {"deprecated.daemonset.template.generation": "4"},
    )

"""What is found of a run in a cluster that stays, after it was left at once."""

from __future__ import annotations

import threading

import pytest

from koalesce.engine.leftovers import Left, left_by
from koalesce.engine.namespaces import labels
from koalesce.errors import KoalesceError
from tests.fakes import FakeCluster, api_error, made

RUN = "20260301-100000-abcde"
MARKS = labels(RUN, "my test")


def test_namespaces_and_objects_outside_of_them_are_found() -> None:
    cluster = FakeCluster()
    cluster.add(
        made("Namespace", "t-1", labels=MARKS),
        made("ConfigMap", "with-it", namespace="t-1", labels=MARKS),
        made("ConfigMap", "elsewhere", namespace="default", labels=MARKS),
        made("ClusterRole", "c", api="rbac.authorization.k8s.io/v1", labels=MARKS),
    )

    assert sorted(left_by(cluster.kube, RUN), key=str) == [
        Left("clusterroles.rbac.authorization.k8s.io/c"),
        Left("configmaps/elsewhere", "default"),
        Left("namespaces/t-1"),
    ]


def test_what_is_of_others_or_stays_or_goes_by_itself_is_left_out() -> None:
    cluster = FakeCluster()
    going = made("Namespace", "going", labels=MARKS)
    going["metadata"]["deletionTimestamp"] = "2026-03-01T10:00:00Z"
    component = {"koalesce.dev/run": MARKS["koalesce.dev/run"], "koalesce.dev/component": "web"}
    cluster.add(
        going,
        made("ConfigMap", "in-it", namespace="going", labels=MARKS),
        made("Namespace", "theirs", labels=labels("another", "my test")),
        made("ConfigMap", "installed", namespace="default", labels=component),
        made("Pod", "of-a-set", namespace="default", labels=MARKS, owner=("ReplicaSet", "r")),
    )

    assert left_by(cluster.kube, RUN) == []


def test_a_server_that_does_not_answer_is_an_error() -> None:
    cluster = FakeCluster()
    cluster.kube.fail("list", api_error(503, "no server"))

    with pytest.raises(KoalesceError, match="no server"):
        left_by(cluster.kube, RUN)


def test_nobody_waits_long_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, hang = FakeCluster(), threading.Event()
    monkeypatch.setattr(cluster.kube, "list", lambda *_args, **_more: hang.wait(30) and [])

    with pytest.raises(KoalesceError, match="no answer within"):
        left_by(cluster.kube, RUN, time=0.05)
    hang.set()

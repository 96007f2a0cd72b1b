from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.kube import UnknownKind
from koalesce.steps.base import Failed, Passed
from tests.fakes import FakeCluster, context, made, step


def web(**spec: Any) -> dict[str, Any]:
    return made(
        "Service",
        "web",
        spec={"type": "ClusterIP", "ports": [{"port": 80}, {"port": 443}], **spec},
        labels={"app": "web"},
    )


def test_passes_on_a_part_of_the_object() -> None:
    cluster = FakeCluster(web())

    outcome = step(
        "assert: {resource: svc/web, match: {spec: {type: ClusterIP, ports: {contains: {port: 80}}}}}"
    ).attempt(context(cluster))

    assert outcome == Passed("service/web matches", cluster.get("svc", "web"))


def test_says_each_difference_path_by_path() -> None:
    outcome = step(
        "assert: {resource: svc/web, match: {spec: {type: NodePort, ports: [{port: 81}, {port: {gt: 443}}]}}}"
    ).attempt(context(FakeCluster(web())))

    assert outcome == Failed(
        'service/web: .spec.type is "ClusterIP", expected "NodePort" (and 2 more)',
        '"NodePort"',
        '"ClusterIP"',
        ".spec.type\n  expected \"NodePort\"\n  actual   \"ClusterIP\"\n"
        ".spec.ports[0].port\n  expected 81\n  actual   80\n"
        ".spec.ports[1].port\n  expected > 443\n  actual   443",
    )  # fmt: skip


def test_keys_of_the_object_are_never_operators_at_its_top() -> None:
    event = made("Event", "e1", count=3, reason="Pulled")

    assert isinstance(
        step("assert: {resource: event/e1, match: {count: 3}}").attempt(context(FakeCluster(event))), Passed
    )
    assert isinstance(
        step("assert: {resource: event/e1, match: {count: 4}}").attempt(context(FakeCluster(event))), Failed
    )


def test_the_nearest_candidate_comes_first() -> None:
    far = made("Service", "a", spec={"type": "ClusterIP", "port": 1}, labels={"app": "web"})
    near = made("Service", "b", spec={"type": "NodePort", "port": 1}, labels={"app": "web"})

    outcome = step(
        "assert: {resource: services, selector: app=web, any: true, match: {spec: {type: NodePort, port: 2}}}"
    ).attempt(context(FakeCluster(far, near)))

    assert isinstance(outcome, Failed)
    assert (
        outcome.message
        == "0 of 2 services with app=web matching, expected any; nearest: service/b: .spec.port is 1, expected 2"
    )
    assert outcome.detail.index("service/b") < outcome.detail.index("service/a")


def test_all_have_to_match() -> None:
    cluster = FakeCluster(made("Pod", "a", spec={"nodeName": "n1"}), made("Pod", "b", spec={}))

    outcome = step("assert: {resource: pods, all: true, match: {spec: {nodeName: {exists: true}}}}").attempt(
        context(cluster)
    )

    assert outcome.message == "1 of 2 pods matching, expected all; pod/b: .spec.nodeName is missing, expected a value"


def test_counts_objects() -> None:
    cluster = FakeCluster(web(), made("Service", "db"))

    assert isinstance(step("assert: {resource: services, count: 2}").attempt(context(cluster)), Passed)
    assert step("assert: {resource: services, count: {lt: 2}}").attempt(context(cluster)).message == (
        "2 of 2 services there, expected lt 2"
    )


def test_nothing_is_counted_only_of_what_was_seen() -> None:
    cluster = FakeCluster(web())
    none = step("assert: {resource: services, selector: app=web, count: 0}")

    assert none.attempt(context(FakeCluster())) == Failed(
        "there are no services with app=web; say mayNotExist if none may be there from the start", "there", "no objects"
    )
    assert isinstance(none.attempt(context(FakeCluster(), may_not_exist=True)), Passed)
    same_test = context(cluster)
    assert isinstance(none.attempt(same_test), Failed)
    cluster.kube.remove("svc", "web", "test-ns")
    assert isinstance(none.attempt(same_test), Passed)


def test_absence_counts_only_of_what_was_seen() -> None:
    cluster = FakeCluster(web())
    absent = step("assert: {resource: svc/web, absent: true}")
    same_test = context(cluster)

    assert absent.attempt(same_test) == Failed("svc/web there: service/web", "absent", "1 there")
    cluster.kube.remove("svc", "web", "test-ns")
    assert absent.attempt(same_test) == Passed("svc/web absent")
    never = absent.attempt(context(cluster))
    assert isinstance(never, Failed)
    assert "its absence proves nothing; say mayNotExist" in never.message
    assert absent.attempt(context(cluster, may_not_exist=True)) == Passed("svc/web absent")


def test_absence_of_an_owners_objects_counts_only_where_some_were_seen() -> None:
    pod = made("Pod", "web-0", labels={"app": "web"}, owner=("StatefulSet", "web"))
    pod["metadata"]["ownerReferences"][0]["apiVersion"] = "apps/v1"
    cluster = FakeCluster(made("StatefulSet", "web", api="apps/v1"), pod)
    same_test = context(cluster)
    gone = step("assert: {resource: pods, owner: sts/web, all: true, absent: true}")

    step("assert: {resource: pods, selector: app=web, count: 1}").attempt(same_test)
    cluster.kube.remove("pod", "web-0", "test-ns")
    assert isinstance(gone.attempt(same_test), Failed)
    cluster.add(pod)
    assert gone.attempt(same_test).message == "pods of sts/web there: pod/web-0"
    cluster.kube.remove("pod", "web-0", "test-ns")
    assert gone.attempt(same_test) == Passed("pods of sts/web absent")


def test_objects_of_other_namespaces_say_where_they_are() -> None:
    cluster = FakeCluster(made("Pod", "a", namespace="kube-system"))

    assert step("assert: {resource: pods, namespace: '*', count: 0}").attempt(context(cluster)).message == (
        "1 of 1 pods in all namespaces there, expected 0"
    )
    assert step("assert: {resource: pod/a, namespace: kube-system, match: {kind: Node}}").attempt(
        context(cluster)
    ).message == ('pod/a in kube-system: .kind is "Pod", expected "Node"')
    assert step("assert: {resource: pod/b, namespace: kube-system, match: {kind: Pod}}").attempt(
        context(cluster)
    ).message == ("pod/b in kube-system does not exist")


def test_absence_of_an_unknown_kind_is_no_pass() -> None:
    with pytest.raises(UnknownKind):
        step("assert: {resource: servces/web, absent: true}").attempt(context(FakeCluster(), may_not_exist=True))


def test_a_missing_object_fails() -> None:
    outcome = step("assert: {resource: svc/web, match: {spec: {}}}").attempt(context(FakeCluster()))

    assert outcome == Failed("svc/web does not exist", "matching", "missing")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("assert: {resource: svc/web}", "assert needs match, absent or count"),
        ("assert: {resource: svc/web, match: {}}", "at least 1 item"),
        (
            "assert: {resource: svc/web, match: {spec: {a: {matches: '('}}}}",
            "match.spec.a.matches\n  regular expression '('",
        ),
        (
            "assert: {resource: svc/web, absent: true, match: {a: 1}}",
            "absent is said of objects by name, selector or owner",
        ),
        ("assert: {resource: services, absent: true}", "which of services? say all: true"),
        ("assert: {resource: svc/web, mtach: {a: 1}}", "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_invalid(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(text)

    assert problem in str(raised.value)

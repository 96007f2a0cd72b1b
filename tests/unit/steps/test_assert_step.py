from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

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
        'service/web: .spec.type is "ClusterIP", expected "NodePort" (and 2 more differences)',
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
    far = made("Service", "a", spec={"type": "ClusterIP", "clusterIP": "1"}, labels={"app": "web"})
    near = made("Service", "b", spec={"type": "NodePort", "clusterIP": "1"}, labels={"app": "web"})

    outcome = step(
        "assert: {resource: services, selector: app=web, any: true, match: {spec: {type: NodePort, clusterIP: '2'}}}"
    ).attempt(context(FakeCluster(far, near)))

    assert isinstance(outcome, Failed)
    assert (
        outcome.message
        == '0 of 2 services with app=web matching, expected any; nearest: service/b: .spec.clusterIP is "1", expected "2"'
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


@pytest.mark.parametrize("fields", ["absent: true", "match: {kind: x}"])
def test_of_an_unknown_kind_nothing_can_be_said(fields: str) -> None:
    outcome = step(f"assert: {{resource: servces/web, {fields}}}").attempt(context(FakeCluster()))

    assert outcome == Failed(
        'servces/web: the server has no kind "servces", so there is nothing to look at',
        "a kind that the cluster knows",
        "an unknown kind",
    )
    assert outcome.saw_nothing


def test_an_unknown_kind_is_absent_for_those_who_say_so() -> None:
    allowed = context(FakeCluster(), may_not_exist=True)

    assert isinstance(step("assert: {resource: widgets/web, absent: true}").attempt(allowed), Passed)
    assert isinstance(step("assert: {resource: widgets, count: 0}").attempt(allowed), Passed)
    assert isinstance(step("assert: {resource: widgets, all: true, match: {kind: x}}").attempt(allowed), Failed)


def test_a_missing_object_fails() -> None:
    outcome = step("assert: {resource: svc/web, match: {spec: {}}}").attempt(context(FakeCluster()))

    assert outcome == Failed("svc/web does not exist", "matching", "missing")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("assert: {resource: svc/web}", "assert needs match, anyOf, allOf, cel, absent or count"),
        ("assert: {resource: svc/web, match: {}}", "at least 1 item"),
        (
            "assert: {resource: svc/web, match: {spec: {a: {matches: '('}}}}",
            "match.spec.a.matches\n  regular expression '('",
        ),
        (
            "assert: {resource: svc/web, absent: true, match: {a: 1}}",
            "absent is said of objects by name, selector, owner or where",
        ),
        ("assert: {resource: services, absent: true}", "which of services? that there is none is count: 0"),
        ("assert: {resource: pods, selector: app=x, absent: true}", "that there is none is count: 0, without absent"),
        ("assert: {resource: pods, match: {spec: {}}}", "which of pods? say all: true, any: true or count: N"),
        ("assert: {resource: svc/web, mtach: {a: 1}}", "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_invalid(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(text)

    assert problem in str(raised.value)


def deployment(**spec: Any) -> dict[str, Any]:
    containers = [
        {"name": "app", "image": "app:1", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}]},
        {"name": "sidecar", "image": "side:2", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
    ]  # fmt: skip
    conditions = [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "False"}]
    status = {"replicas": 2, "conditions": conditions}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
    found = made("Deployment", "web", api="apps/v1", spec={"replicas": 2, "template": template, **spec}, status=status)
    found["metadata"]["finalizers"] = ["a.example.com/x", "b.example.com/y"]
    return found


@pytest.mark.parametrize(
    "match",
    [
        "{spec: {template: {spec: {containers: [{name: sidecar, image: {matches: '^side'}}]}}}}",
        "{spec: {template: {spec: {containers: [{name: sidecar, env: [{name: B, value: '2'}]}, {name: app}]}}}}",
        "{spec: {template: {spec: {containers: [{name: app, ports: [{containerPort: 80, protocol: UDP}]}]}}}}",
        "{spec: {template: {spec: {containers: {any: {name: sidecar, env: [{name: A}]}}}}}}",
        "{status: {conditions: [{type: Progressing, status: 'False'}]}}",
        "{metadata: {finalizers: [b.example.com/y]}}",
        "{spec: {paused: {absent: true}, strategy: {rollingUpdate: {maxSurge: {absent: true}}}}}",
        "{spec: {replicas: {anyOf: [1, {gt: 1}]}}}",
        "{spec: {replicas: {allOf: [2, {lt: 3}]}}}",
    ],
)
def test_lists_are_matched_as_kubernetes_merges_them(match: str) -> None:
    outcome = step(f"assert: {{resource: deploy/web, match: {match}}}").attempt(context(FakeCluster(deployment())))

    assert isinstance(outcome, Passed), outcome.message


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ("{spec: {template: {spec: {containers: [{name: db}]}}}}", '.spec.template.spec.containers has no element with name "db", there are: "app", "sidecar"'),
        ("{spec: {template: {spec: {containers: [{name: app, image: x}]}}}}", '.spec.template.spec.containers[0].image is "app:1", expected "x"'),
        ("{spec: {template: {spec: {containers: [{name: app, ports: [{containerPort: 80, protocol: SCTP}]}]}}}}", '.spec.template.spec.containers[0].ports has no element with containerPort 80 and protocol "SCTP", there are: 80, 80'),
        ("{spec: {template: {spec: {containers: []}}}}", ".spec.template.spec.containers has 2 elements, expected exactly 0"),
        ("{spec: {template: {spec: {containers: [{image: 'app:1'}]}}}}", ".spec.template.spec.containers has 2 elements, expected exactly 1"),
        ("{metadata: {finalizers: [c]}}", '.metadata.finalizers is ["a.example.com/x", "b.example.com/y"], expected the element "c"'),
        ("{status: {conditions: [{type: Available, status: 'False'}]}}", '.status.conditions[0].status is "True", expected "False"'),
        ("{spec: {replicas: {anyOf: [1, {gt: 2}]}}}", ".spec.replicas is like none of 2 alternatives; nearest: is 2, expected 1"),
        ("{spec: {replicas: {absent: true}}}", ".spec.replicas is 2, expected nothing there"),
    ],
)  # fmt: skip
def test_says_which_element_of_a_list_differs(match: str, message: str) -> None:
    outcome = step(f"assert: {{resource: deploy/web, match: {match}}}").attempt(context(FakeCluster(deployment())))

    assert isinstance(outcome, Failed)
    assert message in outcome.message


def test_absence_in_a_status_that_is_not_there_proves_nothing() -> None:
    cluster = FakeCluster(made("Deployment", "web", api="apps/v1", spec={}))
    absent = step("assert: {resource: deploy/web, match: {status: {unavailableReplicas: {absent: true}}}}")

    outcome = absent.attempt(context(cluster))

    assert isinstance(outcome, Failed)
    assert ".status is missing, so what isn't in it proves nothing; say mayNotExist: true" in outcome.message
    assert isinstance(absent.attempt(context(cluster, may_not_exist=True)), Passed)


@pytest.mark.parametrize(
    "match",
    [
        "{spec: {frobnicate: {absent: true}}}",
        "{spec: {frobnicate: null}}",
        "{status: {conditions: {none: {frobnicate: true}}}}",
    ],
)
def test_what_is_not_there_because_there_is_no_such_field_proves_nothing(match: str) -> None:
    looked = step(f"assert: {{resource: deploy/web, match: {match}}}")

    outcome = looked.attempt(context(FakeCluster(deployment())))

    assert isinstance(outcome, Failed)
    assert "Deployment has no field ." in outcome.message
    assert outcome.saw_nothing
    assert isinstance(looked.attempt(context(FakeCluster(deployment()), may_not_exist=True)), Passed)


def test_a_field_that_is_new_in_kubernetes_is_believed_where_it_is_there() -> None:
    newer = deployment(frobnicate=True)

    outcome = step("assert: {resource: deploy/web, match: {spec: {frobnicate: true}}}").attempt(
        context(FakeCluster(newer))
    )

    assert isinstance(outcome, Passed)


def test_of_an_unknown_type_absence_needs_what_would_hold_it() -> None:
    cluster = FakeCluster()
    cluster.kube.define("Widget", "widgets", group="example.com")
    cluster.add(made("Widget", "w", api="example.com/v1", spec={"size": 1}))

    def attempt(match: str) -> Any:
        return step(f"assert: {{resource: widget/w, match: {match}}}").attempt(context(cluster))

    assert isinstance(attempt("{spec: {colour: {absent: true}}}"), Passed)
    assert isinstance(attempt("{sepc: {colour: {absent: true}}}"), Failed)
    assert attempt("{sepc: {colour: red}}").saw_nothing
    assert not attempt("{spec: {size: 2}}").saw_nothing


def test_ages_are_those_by_the_servers_clock() -> None:
    cluster = FakeCluster(made("Deployment", "web", api="apps/v1"))
    obj = cluster.kube.objects["apps", "deployments", "test-ns", "web"]
    obj["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.kube.time = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)

    def attempt(age: str) -> Any:
        text = f"assert: {{resource: deploy/web, match: {{metadata: {{creationTimestamp: {{{age}}}}}}}}}"
        return step(text).attempt(context(cluster))

    assert isinstance(attempt("olderThan: 4m"), Passed)
    assert isinstance(attempt("newerThan: 6m"), Passed)
    assert 'is "2026-01-01T00:00:00Z", expected a time more than 6m ago' in attempt("olderThan: 6m").message
    assert isinstance(attempt("newerThan: 4m"), Failed)


def test_one_of_several_parts_is_enough() -> None:
    either = step("assert: {resource: deploy/web, anyOf: [{spec: {replicas: 3}}, {spec: {replicas: 2}}]}")
    neither = step(
        "assert: {resource: deploy/web, anyOf: [{spec: {replicas: 3}}, {spec: {replicas: 4}}], match: {kind: Deployment}}"
    )
    each = step("assert: {resource: deploy/web, allOf: [{kind: Deployment}, {spec: {replicas: 3}}]}")

    assert isinstance(either.attempt(context(FakeCluster(deployment()))), Passed)
    assert neither.attempt(context(FakeCluster(deployment()))).message == (
        "deployment/web: .spec.replicas is 2, expected 3 (by the nearest of 2 alternatives)"
    )
    assert each.attempt(context(FakeCluster(deployment()))).message == "deployment/web: .spec.replicas is 2, expected 3"


def test_objects_are_chosen_by_a_part_of_them() -> None:
    pods = [made("Pod", name, spec={"nodeName": node}) for name, node in (("a", "n1"), ("b", "n2"), ("c", "n1"))]
    on_n1 = step("assert: {resource: pods, where: {spec: {nodeName: n1}}, count: 2}")
    on_n3 = step("assert: {resource: pods, where: {spec: {nodeName: n3}}, all: true, match: {kind: Pod}}")

    assert isinstance(on_n1.attempt(context(FakeCluster(*pods))), Passed)
    assert on_n3.attempt(context(FakeCluster(*pods))).message == (
        'there are no pods where {"spec": {"nodeName": "n3"}}; of 3 others the nearest is pod/a, whose .spec.nodeName is "n1", expected "n3"'
    )


def test_what_where_left_out_was_not_seen() -> None:
    cluster = FakeCluster(made("Pod", "a", spec={"nodeName": "n1"}))
    none_there = step("assert: {resource: pods, where: {spec: {nodeName: n2}}, count: 0}")
    seen = context(cluster)
    step("assert: {resource: pods, count: 1}").attempt(seen)

    assert isinstance(none_there.attempt(seen), Failed)


@pytest.mark.parametrize(
    ("fields", "place", "problem"),
    [
        ("match: {spec: {replica: 3}}", ("match", "spec", "replica"), 'Deployment has no field "replica" here; did you mean "replicas"?'),
        ("match: {spec: {replicas: '3'}}", ("match", "spec", "replicas"), 'the string "3" can\'t match here: this is an integer; without quotes: 3'),
        ("match: {spec: {replicas: {gte: 3}}}", ("match", "spec", "replicas"), "a map can't match here: this is an integer; did you mean the operator ge?"),
        ("match: {spec: {replicas: {matches: a}}}", ("match", "spec", "replicas", "matches"), "matches is said of texts: this is an integer"),
        ("match: {spec: {paused: {gt: 1}}}", ("match", "spec", "paused", "gt"), "gt is said of numbers, quantities and times: this is a boolean"),
        ("match: {spec: {replicas: {any: 1}}}", ("match", "spec", "replicas", "any"), "any is said of lists: this is an integer"),
        ("match: {status: {conditions: {any: {type: Ready, status: true}}}}", ("match", "status", "conditions", "any", "status"), 'the boolean true can\'t match here: this is a string; quote it: "true"'),
        ("match: {metadata: {creationTimestamp: {olderThan: 5}}}", ("match", "metadata", "creationTimestamp", "olderThan"), "5 is not a duration"),
        ("anyOf: [{kind: Deployment}, {spec: {replica: 3}}]", ("anyOf", 1, "spec", "replica"), 'did you mean "replicas"?'),
        ("allOf: [{spec: {replicas: {lt: big}}}]", ("allOf", 0, "spec", "replicas", "lt"), '"big" is no number, quantity or time'),
        ("where: {spec: {replica: 3}}, count: 1", ("where", "spec", "replica"), 'did you mean "replicas"?'),
    ],
)  # fmt: skip
def test_what_can_never_match_is_invalid_at_its_place(fields: str, place: tuple[str | int, ...], problem: str) -> None:
    resource = "deployments" if "where" in fields else "deploy/web"
    with pytest.raises(ValidationError) as raised:
        step(f"assert: {{resource: {resource}, {fields}}}")

    assert [(error["loc"], problem in error["msg"]) for error in raised.value.errors()] == [(place, True)]


def test_that_none_complies_proves_nothing_where_nothing_was_seen() -> None:
    cluster = FakeCluster(made("Pod", "a", spec={"nodeName": "n1"}))

    def attempt(match: str, *, may_not_exist: bool = False) -> Any:
        text = f"assert: {{resource: pods, count: 0, match: {match}}}"
        return step(text).attempt(context(cluster, may_not_exist=may_not_exist))

    assert isinstance(attempt("{spec: {nodeName: n2}}"), Passed)
    blind = attempt("{spec: {frobnicate: 1}}")
    assert isinstance(blind, Failed)
    assert "Pod has no field .spec.frobnicate, so that none complies proves nothing" in blind.message
    assert isinstance(attempt("{spec: {frobnicate: 1}}", may_not_exist=True), Passed)

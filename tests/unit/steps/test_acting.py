"""Steps that change objects: what a lost answer means, what makes no sense."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from koalesce.kube import ApiError, UnknownKind
from koalesce.steps.base import Failed, Passed
from tests.fakes import LABELS, FakeCluster, api_error, context, made, step

CREATE = "create: {objects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}, {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}]}"


def test_a_second_attempt_goes_on_where_the_first_has_ended() -> None:
    cluster = FakeCluster()
    same_step = context(cluster)
    text = CREATE.replace(
        "apiVersion: v1, kind: ConfigMap, metadata: {name: b}",
        "apiVersion: example.com/v1, kind: Widget, metadata: {name: b}",
    )

    with pytest.raises(UnknownKind):
        step(text).act(same_step)
    cluster.kube.define("Widget", "widgets", group="example.com")
    outcome = step(text).act(same_step)

    assert outcome.message == "created configmap/a, widget/b"
    assert [what["object"]["metadata"]["name"] for verb, what in cluster.kube.requests] == ["a", "b"]


def test_what_an_attempt_has_made_whose_answer_was_lost_is_taken_for_created() -> None:
    cluster = FakeCluster()
    same_step = context(cluster)
    cluster.kube.fail("create", api_error(0, "reset", reason="ConnectionReset"))

    with pytest.raises(ApiError):
        step(CREATE).act(same_step)
    cluster.add(made("ConfigMap", "a", namespace="test-ns", labels=LABELS))  # the server had done it
    outcome = step(CREATE).act(same_step)

    assert isinstance(outcome, Passed)
    assert outcome.message == "created configmap/a, configmap/b"


def test_what_was_there_before_is_not_taken_for_created() -> None:
    cluster = FakeCluster(made("ConfigMap", "a", namespace="test-ns", labels=LABELS))
    same_step = context(cluster)
    cluster.kube.fail("create", api_error(0, "reset", reason="ConnectionReset"))

    with pytest.raises(ApiError):
        step(CREATE).act(same_step)
    with pytest.raises(ApiError, match="already exists"):
        step(CREATE).act(same_step)


def test_a_label_is_changed_as_it_was_looked_at() -> None:
    cluster = FakeCluster(made("ConfigMap", "a", labels={"tier": "web"}))
    version = (cluster.get("cm", "a") or {})["metadata"]["resourceVersion"]

    step("label: {resource: cm/a, labels: {tier: web, more: x}}").act(context(cluster))

    ((_, patch),) = cluster.kube.requests
    assert patch["body"] == {"metadata": {"labels": {"tier": "web", "more": "x"}, "resourceVersion": version}}


def test_the_first_object_that_does_not_fit_ends_the_step() -> None:
    cluster = FakeCluster(
        made("ConfigMap", "a", labels={"app": "x", "tier": "web"}), made("ConfigMap", "b", labels={"app": "x"})
    )

    outcome = step("label: {resource: cm, selector: app=x, labels: {tier: db}}").act(context(cluster))

    assert outcome == Failed(
        'configmap/a in test-ns has tier "web" already; say overwrite: true to change it', "db", "web", final=True
    )
    assert cluster.kube.requests == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("create: {}", "create needs at least one of object, objects, file and files"),
        ("update: {}", "update needs at least one of object, objects, file and files"),
        ("update: {object: {apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}}", "an object needs metadata.name"),
        ("patch: {resource: cm/a}", "patch needs exactly one of merge, strategic and json; got none"),
        ("patch: {resource: cm/a, merge: {}, strategic: {}}", "got merge and strategic"),
        ("patch: {resource: cm, merge: {}}", "patch cm: write either KIND/NAME, or KIND and a selector"),
        ("patch: {resource: cm/a, namespace: '*', merge: {}}", "cm/a is in one namespace; name it"),
        ("patch: {resource: cm/a, merge: {}, subresource: state}", "'status'"),
        ("patch: {resource: cm/a, json: []}", "at least 1 item"),
        ("patch: {resource: cm/a, json: [{op: put, path: /a, value: 1}]}", "'add'"),
        ("patch: {resource: cm/a, json: [{op: add, path: a, value: 1}]}", '"a" is no path of a JSON patch; it begins with /'),
        ("patch: {resource: cm/a, json: [{op: add, path: /a}]}", "add needs a value"),
        ("patch: {resource: cm/a, json: [{op: remove, path: /a, value: 1}]}", "remove has no value"),
        ("patch: {resource: cm/a, json: [{op: move, path: /a}]}", "move needs from"),
        ("patch: {resource: cm/a, json: [{op: test, path: /a, from: /b, value: 1}]}", "test has no from"),
        ("label: {resource: cm/a, labels: {}}", "says nothing; write KEY: VALUE, or KEY: null to remove one"),
        ("label: {resource: cm/a, labels: {'a b': x}}", '"a b" is no key'),
        ("label: {resource: cm/a, labels: {Example.com/a: x}}", '"Example.com/a" is no key'),
        ("label: {resource: cm/a, labels: {a: 'x y'}}", '"x y" is no value of a label (a)'),
        ("label: {resource: cm/a, labels: {koalesce.dev/test: x}}", "is what Koalesce knows the owner of an object by"),
        ("annotate: {resource: cm/a, annotations: {koalesce.dev/test: x}}", "is what Koalesce knows the owner of an object by"),
        ("annotate: {resource: cm/a, annotations: {a: 1}}", "valid string"),
        ("scale: {resource: deployment/web}", "Field required"),
        ("scale: {resource: deployment/web, replicas: -1}", "greater than or equal to 0"),
        ("scale: {resource: deployment/web, replicas: '1'}", "valid integer"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_invalid(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(text)

    assert problem in str(raised.value)

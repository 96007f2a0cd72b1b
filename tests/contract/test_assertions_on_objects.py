"""Assertions on objects against a real API server: types, owners and clocks are the server's."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.steps.base import Failed, Passed
from tests.contract.api_server import ApiServer
from tests.contract.test_steps_on_objects import Test
from tests.contract.test_steps_on_objects import test as given_test

test = given_test
WEB = """apply:
  objects:
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec:
        selector: {matchLabels: {app: web}}
        template:
          metadata: {labels: {app: web}}
          spec:
            containers:
              - name: app
                image: app:1
                ports: [{containerPort: 53, protocol: UDP}, {containerPort: 53, protocol: TCP}]
                resources: {requests: {cpu: 0.5, memory: 65536Ki}}
              - {name: sidecar, image: "sidecar:1", env: [{name: A, value: "1"}, {name: B, value: "2"}]}
    - apiVersion: v1
      kind: Service
      metadata: {name: web}
      spec: {selector: {app: web}, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]}
"""


@pytest.fixture
def web(test: Test) -> Test:
    assert isinstance(test.act(WEB), Passed)
    return test


@pytest.mark.parametrize(
    "match",
    [
        "{spec: {template: {spec: {containers: [{name: sidecar, env: [{name: B, value: '2'}]}]}}}}",
        "{spec: {template: {spec: {containers: [{name: app, ports: [{containerPort: 53, protocol: TCP}]}]}}}}",
        "{spec: {template: {spec: {containers: {any: {resources: {requests: {cpu: {gt: 400m, lt: 1}, memory: {ge: 64Mi}}}}}}}}}",
        "{metadata: {creationTimestamp: {newerThan: 1h}, deletionTimestamp: {absent: true}}}",
        "{spec: {strategy: {rollingUpdate: {maxSurge: 25%}}, paused: null}}",
    ],
)
def test_objects_match_in_part(web: Test, match: str) -> None:
    outcome = web.look(f"assert: {{resource: deploy/web, match: {match}}}")

    assert isinstance(outcome, Passed), outcome.message


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("{spec: {template: {spec: {containers: [{name: db}]}}}}", 'has no element with name "db", there are: "app", "sidecar"'),
        ("{metadata: {creationTimestamp: {olderThan: 1h}}}", "expected a time more than 1h ago"),
        ("{spec: {template: {spec: {containers: {none: {frobnicate: 1}}}}}}", "Deployment has no field .spec.template.spec.containers.none.frobnicate"),
        ("{status: {readyReplicas: {absent: true}}}", ".status is missing, so what isn't in it proves nothing"),
    ],
)  # fmt: skip
def test_objects_do_not_match(web: Test, match: str, said: str) -> None:
    outcome = web.look(f"assert: {{resource: deploy/web, match: {match}}}")

    assert isinstance(outcome, Failed)
    assert said in outcome.message


def test_ports_of_a_service_are_told_apart_by_number_and_protocol(web: Test) -> None:
    look = "assert: {resource: svc/web, match: {spec: {ports: [{port: 53, protocol: TCP, name: %s}]}}}"

    assert isinstance(web.look(look % "dns-tcp"), Passed)
    assert isinstance(web.look(look % "dns"), Failed)


def test_a_look_at_an_age_is_not_left_to_the_watch(web: Test) -> None:
    context = web.context()
    fields = {"resource": "deploy/web", "match": {"metadata": {"creationTimestamp": {"olderThan": "1h"}}}}
    from koalesce.steps.assert_ import Assert

    Assert.model_validate(fields).attempt(context)
    assert not context.view.has_read
    context.view.begin()
    Assert.model_validate({**fields, "match": {"metadata": {"name": "web"}}}).attempt(context)
    assert context.view.has_read


@pytest.mark.parametrize(
    "text",
    [
        "assert: {resource: gadgets.example.com/g, absent: true}",
        "assert: {resource: gadgets.example.com, count: 0}",
        "wait-for: {resource: gadgets.example.com/g, deleted: true}",
        "jsonpath: {resource: gadgets.example.com, path: '{.items[*].spec}', count: 0}",
        "unchanged: {resource: gadgets.example.com}",
        "assert: {resource: configmaps, selector: app=nobody, count: 0}",
        "jsonpath: {resource: configmaps, selector: app=nobody, path: '{.items[*].data.a}', absent: true}",
        "wait-for: {resource: configmap/never-there, deleted: true}",
        "assert: {resource: configmap/never-there, absent: true}",
    ],
)
def test_what_was_never_there_proves_nothing(web: Test, text: str) -> None:
    outcome = web.look(text)

    assert isinstance(outcome, Failed)
    assert outcome.saw_nothing
    if not text.startswith("unchanged"):
        allowed: Any = web.look(text, may_not_exist=True)
        assert isinstance(allowed, Passed)


def test_nothing_moves_until_something_does(web: Test, api_server: ApiServer) -> None:
    from koalesce.steps.unchanged import Unchanged

    context = web.context()
    unchanged = Unchanged.model_validate({"resource": "deploy/web", "ignore": "{.metadata.annotations}"})
    assert isinstance(unchanged.attempt(context), Passed)

    api_server.kubectl("annotate", "deployment", "web", f"--namespace={web.namespace}", "a=b")
    context.view.begin()
    assert isinstance(unchanged.attempt(context), Passed)
    api_server.kubectl("scale", "deployment", "web", f"--namespace={web.namespace}", "--replicas=3")
    context.view.begin()
    outcome = unchanged.attempt(context)

    assert isinstance(outcome, Failed)
    assert ".spec.replicas changed from 1 to 3" in outcome.detail


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "{.spec.strategy}", "ignore": ["{.spec.strategy.type}", "{.spec.strategy.rollingUpdate}"]},
        {"ignore": ["{.spec}", "{.status}", "{.metadata.labels}", "{.metadata.annotations}"]},
    ],
)
def test_nothing_that_could_move_is_no_rest(web: Test, fields: dict[str, Any]) -> None:
    from koalesce.steps.unchanged import Unchanged

    unchanged = Unchanged.model_validate({"resource": "deploy/web", **fields})

    outcome = unchanged.attempt(web.context())

    assert isinstance(outcome, Failed)
    assert "nothing could be seen to move" in outcome.message

"""The steps that change objects, run by the engine against a real API server: the semantics are the server's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from koalesce.cluster import Node
from koalesce.kube import Kube
from tests.contract.acting import Acting
from tests.contract.api_server import ApiServer

DEPLOYMENT = (
    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 1, selector: {matchLabels: {app: web}}, "
    "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: a:1}, {name: b, image: b:1}]}}}}"
)


def config(data: str = "a: '1'", name: str = "c") -> str:
    return f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{{data}}}}}"


@pytest.fixture
def test(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Acting]:
    given = Acting(api_server, namespace, tmp_path)
    yield given
    given.end()


def data(test: Acting, name: str = "c") -> dict[str, str]:
    found = test.get("cm", name)
    assert found is not None
    return found["data"]


def test_what_is_there_cannot_be_created_and_the_server_says_so(test: Acting) -> None:
    assert test.run(f"create: {{object: {config()}}}").status == "passed"

    again = test.run(f"create: {{object: {config()}}}")

    assert (again.status, again.actual, again.attempts) == ("failed", "AlreadyExists", 1)
    assert "configmap/c" in again.message
    assert "already exists" in again.message


def test_a_generated_name_is_an_output(test: Acting) -> None:
    made = test.run(
        "create: {object: {apiVersion: v1, kind: ConfigMap, metadata: {generateName: c-}}}\n"
        "outputs: {name: {jsonpath: '{.metadata.name}'}}"
    )

    assert made.status == "passed"
    assert test.get("cm", test.values["outputs"]["name"]) is not None


def test_generated_objects_that_outlast_the_namespace_go_at_the_end(test: Acting) -> None:
    prefix = f"gen-{test.namespace}-"
    role = f"{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{generateName: {prefix}}}}}"
    test.run(f"create: {{object: {role}}}\noutputs: {{name: {{jsonpath: '{{.metadata.name}}'}}}}")
    name = test.values["outputs"]["name"]
    assert test.get("clusterrole", name) is not None

    assert test.end() == []

    assert test.get("clusterrole", name) is None


def test_an_update_replaces_the_whole_and_needs_something_to_replace(test: Acting) -> None:
    missing = test.run(f"update: {{object: {config()}}}")
    assert (missing.status, missing.actual) == ("failed", "NotFound")

    test.run(f"apply: {{object: {config('a: x, b: x')}}}")
    assert test.run(f"update: {{object: {config('c: x')}}}").status == "passed"

    assert data(test) == {"c": "x"}


def test_an_update_of_another_version_is_a_conflict_at_once(test: Acting) -> None:
    test.run(f"apply: {{object: {config()}}}")
    old = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, resourceVersion: '1'}, data: {a: '2'}}"

    done = test.run(f"update: {{object: {old}}}")
    expected = test.run(
        f"update: {{object: {old}}}\nexpectFailure: {{reason: Conflict, code: 409, message: {{contains: modified}}}}"
    )

    assert (done.status, done.actual, done.attempts) == ("failed", "Conflict", 1)
    assert expected.status == "passed"
    assert data(test) == {"a": "1"}


def test_conflicts_of_managers_are_a_table_of_fields(test: Acting) -> None:
    test.run(f"apply: {{fieldManager: first, object: {config('a: x, b: x')}}}")

    done = test.run(f"apply: {{force: false, object: {config('a: y, b: y')}}}")

    assert done.status == "failed"
    assert done.message == f"configmap/c in {test.namespace}: 2 fields belong to another field manager"
    assert done.detail.splitlines() == ["field    manager", ".data.a  first", ".data.b  first"]


@pytest.mark.parametrize(
    "step",
    [
        f"apply: {{dryRun: true, object: {config('a: y')}}}",
        f"update: {{dryRun: true, object: {config('a: y')}}}",
        f"create: {{dryRun: true, object: {config('a: y', 'other')}}}",
        "patch: {dryRun: true, resource: cm/c, merge: {data: {a: y}}}",
        "label: {dryRun: true, resource: cm/c, labels: {tier: y}}",
        "annotate: {dryRun: true, resource: cm/c, annotations: {tier: y}}",
        "scale: {dryRun: true, resource: deployment/web, replicas: 3}",
    ],
)
def test_a_dry_run_changes_nothing(test: Acting, step: str) -> None:
    test.run(f"apply: {{objects: [{config()}, {DEPLOYMENT}]}}")
    before = [test.get("cm", "c"), test.get("deployment", "web")]

    done = test.run(step)

    assert (done.status, done.message.endswith("would be accepted")) == ("passed", True), done.message
    assert [test.get("cm", "c"), test.get("deployment", "web")] == before
    assert test.get("cm", "other") is None


def test_a_strategic_patch_merges_lists_by_their_keys_and_a_merge_patch_replaces_them(test: Acting) -> None:
    test.run(f"apply: {{object: {DEPLOYMENT}}}")

    def images() -> dict[str, str]:
        found = test.get("deployment", "web")
        assert found is not None
        return {one["name"]: one["image"] for one in found["spec"]["template"]["spec"]["containers"]}

    containers = "{spec: {template: {spec: {containers: [{name: b, image: 'b:2'}]}}}}"
    assert test.run(f"patch: {{resource: deployment/web, strategic: {containers}}}").status == "passed"
    assert images() == {"a": "a:1", "b": "b:2"}
    assert test.run(f"patch: {{resource: deployment/web, merge: {containers}}}").status == "passed"
    assert images() == {"b": "b:2"}


def test_a_json_patch_is_done_as_a_whole_or_not_at_all(test: Acting) -> None:
    test.run(f"apply: {{object: {config()}}}")

    refused = test.run(
        "patch: {resource: cm/c, json: [{op: add, path: /data/b, value: x}, {op: test, path: /data/a, value: other}]}"
    )
    assert (refused.status, data(test)) == ("failed", {"a": "1"})
    done = test.run(
        "patch: {resource: cm/c, json: [{op: test, path: /data/a, value: '1'}, {op: move, from: /data/a, path: /data/b}]}"
    )
    assert (done.status, data(test)) == ("passed", {"b": "1"})


def test_the_status_is_patched_by_its_own_path_only(test: Acting) -> None:
    test.run(f"apply: {{object: {DEPLOYMENT}}}")

    test.run("patch: {resource: deployment/web, merge: {status: {replicas: 7}}}")
    beside = test.get("deployment", "web")
    test.run("patch: {resource: deployment/web, subresource: status, merge: {status: {replicas: 7}}}")
    by_path = test.get("deployment", "web")

    assert beside is not None
    assert by_path is not None
    assert (beside["status"].get("replicas"), by_path["status"]["replicas"]) == (None, 7)


def test_a_patch_of_what_is_not_there_is_refused(test: Acting) -> None:
    done = test.run("patch: {resource: cm/none, merge: {data: {a: b}}}\nexpectFailure: {reason: NotFound, code: 404}")
    none = test.run("patch: {resource: cm, selector: app=none, merge: {data: {a: b}}}")

    assert done.status == "passed"
    assert (none.status, none.message) == ("failed", "there are no cm with app=none")


def test_labels_are_set_and_removed_and_not_changed_unasked(test: Acting) -> None:
    test.run(f"apply: {{objects: [{config()}, {config(name='d')}]}}")
    mine = "selector: koalesce.dev/test=t1"

    assert test.run(f"label: {{resource: cm, {mine}, labels: {{tier: web, gone: x}}}}").message == (
        "labelled configmap/c, configmap/d"
    )
    again = test.run("label: {resource: cm/c, labels: {tier: db}}")
    changed = test.run("label: {resource: cm/c, overwrite: true, labels: {tier: db, gone: null, absent: null}}")

    assert (again.status, again.expected, again.actual) == ("failed", "db", "web")
    assert changed.status == "passed"
    labels = [(test.get("cm", name) or {})["metadata"]["labels"] for name in ("c", "d")]
    assert [(found["tier"], "gone" in found) for found in labels] == [("db", False), ("web", True)]


def test_annotations_take_any_text(test: Acting) -> None:
    test.run(f"apply: {{object: {config()}}}")

    done = test.run("annotate: {resource: cm/c, annotations: {example.com/why: 'because, of: this'}}")

    assert done.status == "passed"
    assert (test.get("cm", "c") or {})["metadata"]["annotations"]["example.com/why"] == "because, of: this"


def test_scales_what_can_be_scaled_if_it_is_as_it_was_thought_to_be(test: Acting) -> None:
    test.run(f"apply: {{objects: [{DEPLOYMENT}, {config()}]}}")

    wrong = test.run("scale: {resource: deployment/web, replicas: 3, current: 2}")
    right = test.run(
        "scale: {resource: deployment/web, replicas: 3, current: 1}\noutputs: {n: {jsonpath: '{.spec.replicas}'}}"
    )
    unfit = test.run("scale: {resource: cm/c, replicas: 3}", timeout=2)
    missing = test.run("scale: {resource: deployment/none, replicas: 3}")

    assert (wrong.status, wrong.expected, wrong.actual) == ("failed", "2", "1")
    assert (right.status, right.message) == ("passed", "scaled deployment/web")
    assert test.values["outputs"]["n"] == 3
    assert ((test.get("deployment", "web") or {})["spec"]["replicas"]) == 3
    assert (unfit.status, "no scale subresource" in unfit.message) == ("failed", True)
    assert (missing.status, missing.actual) == ("failed", "NotFound")


WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.PREFIX.example.com}
spec:
  group: PREFIX.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {size: {type: integer, maximum: 9}, count: {type: integer}, parts: {type: array, items: {type: object, properties: {name: {type: string}}}}}
            status: {type: object, properties: {count: {type: integer}}}
      subresources:
        status: {}
        scale: {specReplicasPath: .spec.count, statusReplicasPath: .status.count}
"""


def test_kinds_of_ones_own(test: Acting) -> None:
    """The definition and an object of it in one step, its scale, its schema, and that strategic patches aren't for it."""
    group = f"{test.namespace}.example.com"
    (test.root / "crd.yaml").write_text(WIDGETS.replace("PREFIX", test.namespace))
    widget = f"{{apiVersion: {group}/v1, kind: Widget, metadata: {{name: w}}, spec: {{size: 1, count: 1, parts: [{{name: a}}]}}}}"

    made = test.run(f"apply: {{file: crd.yaml, object: {widget}}}", timeout=20)
    scaled = test.run(f"scale: {{resource: widgets.{group}/w, replicas: 4}}")
    invalid = test.run(
        f"patch: {{resource: widgets.{group}/w, merge: {{spec: {{size: 10}}}}}}\n"
        "expectFailure: {reason: Invalid, code: 422, message: {contains: spec.size}}"
    )
    strategic = test.run(f"patch: {{resource: widgets.{group}/w, strategic: {{spec: {{size: 2}}}}}}")
    status = test.run(f"patch: {{resource: widgets.{group}/w, subresource: status, merge: {{status: {{count: 4}}}}}}")

    assert made.status == "passed", made.message
    assert made.message == f"applied customresourcedefinition/widgets.{group}, widget/w"
    assert (scaled.status, invalid.status, status.status) == ("passed", "passed", "passed")
    assert (strategic.status, "only built-in kinds" in strategic.message) == ("failed", True), strategic.message
    found = test.get(f"widgets.{group}", "w")
    assert found is not None
    assert (found["spec"]["count"], found["status"]) == (4, {"count": 4})
    assert test.end() == []


def test_what_is_refused_as_expected_passes_with_the_servers_words(test: Acting) -> None:
    test.run(f"create: {{object: {config()}}}")

    done = test.run(
        f"create: {{object: {config()}}}\n"
        "expectFailure: {reason: AlreadyExists, code: 409, message: 'configmaps \"c\" already exists'}\n"
        "outputs: {reason: {jsonpath: '{.reason}'}, message: {jsonpath: '{.message}'}}"
    )

    assert done.status == "passed", done.message
    assert test.values["outputs"] == {"reason": "AlreadyExists", "message": 'configmaps "c" already exists'}


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ("{reason: Invalid}", "refused with the reason AlreadyExists, expected Invalid"),
        ("{code: 422}", "refused with the status 409, expected 422"),
        ("{message: {contains: nope}}", "refused, but in other words"),
    ],
)
def test_another_refusal_than_the_expected_one_fails(test: Acting, expected: str, message: str) -> None:
    test.run(f"create: {{object: {config()}}}")

    done = test.run(f"create: {{object: {config()}}}\nexpectFailure: {expected}")

    assert (done.status, done.message.startswith(message)) == ("failed", True), done.message


@pytest.mark.parametrize(
    ("step", "was"),
    [
        (f"create: {{object: {config(name='new')}}}", {"a": "1"}),
        (f"apply: {{object: {config('a: y, b: y')}}}", {"a": "1"}),
        (f"update: {{object: {config('b: y')}}}", {"a": "1"}),
        ("patch: {resource: cm/c, merge: {data: {a: null, b: y}}}", {"a": "1"}),
        ("delete: cm/c", {"a": "1"}),
    ],
)
def test_what_is_accepted_against_expectation_fails_and_is_undone(test: Acting, step: str, was: dict[str, str]) -> None:
    test.run(f"apply: {{object: {config()}}}")

    done = test.run(f"{step}\nexpectFailure: true")

    assert (done.status, done.message.startswith("was accepted: ")) == ("failed", True), done.message
    assert data(test) == was
    assert test.get("cm", "new") is None


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("patch: {resource: cm/none, merge: {data: {a: b}}}", "NotFound"),
        (f"update: {{object: {config(name='none')}}}", "NotFound"),
        ("scale: {resource: deployment/none, replicas: 1}", "NotFound"),
        ("label: {resource: cm/none, labels: {a: b}}", "NotFound"),
        (f"create: {{namespace: nowhere, object: {config(name='new')}}}", "NotFound"),
        (f"apply: {{namespace: nowhere, object: {config(name='new')}}}", "NotFound"),
        ("apply: {object: {apiVersion: example.com/v1, kind: Nothing, metadata: {name: a}}}", "UnknownKind"),
    ],
)
def test_what_is_not_there_is_no_refusal_unless_it_is_meant(test: Acting, step: str, reason: str) -> None:
    looses = [
        test.run(f"{step}\nexpectFailure: {wanted}", timeout=1)
        for wanted in ("true", "{message: {notContains: quota}}")
    ]
    meant = test.run(f"{step}\nexpectFailure: {{reason: {reason}}}", timeout=1)

    hint = f"if this is meant, write expectFailure: {{reason: {reason}}}"
    for loose in looses:
        assert (loose.status, hint in loose.message) == ("failed", True), loose.message
    assert meant.status == "passed", meant.message


@pytest.mark.parametrize(
    "step",
    [
        "apply: {object: {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 70000}]}}}",
        "apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dta: {a: b}}}",
        f"create: {{object: {config()}}}",
    ],
)
def test_any_refusal_of_what_is_asked_for_will_do(test: Acting, step: str) -> None:
    test.run(f"create: {{object: {config()}}}")

    assert test.run(f"{step}\nexpectFailure: true").status == "passed"


def test_a_deletion_that_is_held_up_was_not_refused(test: Acting) -> None:
    held = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, finalizers: [example.com/hold]}}"
    test.run(f"apply: {{object: {held}}}")

    done = test.run("delete: cm/c\nexpectFailure: true", timeout=0.5)

    assert (done.status, "still there" in done.message) == ("failed", True), done.message


def test_what_cannot_be_found_is_refused_to_be_deleted_if_that_is_meant(test: Acting) -> None:
    loose = test.run("delete: cm/none\nexpectFailure: true")

    assert (loose.status, "refused, but not for what it says" in loose.message) == ("failed", True), loose.message
    assert test.run("delete: cm/none\nexpectFailure: {message: {contains: nothing to delete}}").status == "passed"


def test_a_server_that_is_not_there_is_no_expected_refusal(test: Acting, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: c, user: {}}]\n"
    )
    test.cluster = dataclasses.replace(test.cluster, kube=Kube(nowhere))

    done = test.run(f"create: {{object: {config()}}}\nexpectFailure: true", timeout=1)

    assert done.status == "error", done.message


def test_what_another_owner_made_is_not_touched_and_a_disruptive_test_puts_it_back(test: Acting) -> None:
    name = f"shared-{test.namespace}"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"a": "1"}},
        "rules": [],
    }
    test.kube.create(role)
    patch = f"patch: {{resource: clusterrole/{name}, merge: {{metadata: {{labels: {{a: null, b: '2'}}}}, rules: [{{apiGroups: [''], resources: [pods], verbs: [get]}}]}}}}"

    refused = test.run(patch)
    assert (refused.status, refused.message) == (
        "error", f"clusterrole/{name} belongs to the cluster; only a test that says disruptive: true may change it",
    )  # fmt: skip
    assert test.run(patch, disruptive=True).status == "passed"
    assert test.run(f"label: {{resource: clusterrole/{name}, labels: {{c: '3'}}}}", disruptive=True).status == "passed"
    changed = test.get("clusterrole", name)
    assert changed is not None
    assert (changed["metadata"]["labels"], len(changed["rules"])) == ({"b": "2", "c": "3"}, 1)

    assert test.end() == []

    restored = test.get("clusterrole", name)
    assert restored is not None
    assert (restored["metadata"]["labels"], restored.get("rules")) == ({"a": "1"}, role["rules"] or None)
    test.kube.delete(test.kube.resource("clusterrole"), name)


def test_what_somebody_else_changed_since_is_told_and_left(test: Acting) -> None:
    name = f"contested-{test.namespace}"
    kind = test.kube.resource("clusterrole")
    test.kube.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}})
    test.run(f"label: {{resource: clusterrole/{name}, labels: {{a: '1', b: '1'}}}}", disruptive=True)
    test.kube.patch(kind, name, None, {"metadata": {"labels": {"a": "theirs"}}})

    assert test.end() == [
        f"put clusterrole/{name} back: changed by somebody else since, so not put back: .metadata.labels.a"
    ]

    found = test.get("clusterrole", name)
    assert found is not None
    assert found["metadata"]["labels"] == {"a": "theirs"}
    test.kube.delete(kind, name)


def test_a_deleted_object_of_another_owner_is_made_again(test: Acting) -> None:
    name = f"deleted-{test.namespace}"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    test.kube.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        }
    )

    assert test.run(f"delete: clusterrole/{name}").status == "error"
    assert test.run(f"delete: clusterrole/{name}", disruptive=True).status == "passed"
    assert test.get("clusterrole", name) is None

    assert test.end() == []
    found = test.get("clusterrole", name)
    assert found is not None
    assert found["rules"] == rules
    test.kube.delete(test.kube.resource("clusterrole"), name)


def test_a_namespace_of_the_tests_own_and_all_in_it_are_its_own(test: Acting) -> None:
    other = f"other-{test.namespace}"
    made = test.run(f"apply: {{object: {{apiVersion: v1, kind: Namespace, metadata: {{name: {other}}}}}}}")
    test.kube.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "by-a-controller", "namespace": other}}
    )

    changed = test.run(f"patch: {{resource: cm/by-a-controller, namespace: {other}, merge: {{data: {{a: b}}}}}}")

    assert (made.status, changed.status) == ("passed", "passed"), changed.message


def test_an_object_of_a_component_may_be_changed_but_not_be_scaled_away(test: Acting) -> None:
    other = f"component-{test.namespace}"
    marks = {"koalesce.dev/run": "r1", "koalesce.dev/component": "web"}
    test.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other, "labels": marks}})
    test.kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": other, "labels": marks}, "data": {"a": "1"}})  # fmt: skip

    changed = test.run(f"apply: {{namespace: {other}, object: {config('a: y')}}}")
    deleted = test.run(f"delete: {{resource: cm/c, namespace: {other}}}")
    during = test.kube.get(test.kube.resource("cm"), "c", other)

    assert changed.status == "passed", changed.message
    assert during is not None
    assert (during["data"], during["metadata"]["labels"]) == ({"a": "y"}, marks)
    assert deleted.message == (
        f"configmap/c in {other} belongs to the component web; only a test that says disruptive: true may delete it"
    )
    assert test.end() == []
    after = test.kube.get(test.kube.resource("cm"), "c", other)
    assert after is not None
    assert after["data"] == {"a": "1"}


def test_a_drained_node_has_no_pods_once_their_budget_lets_them_go(test: Acting) -> None:
    name = f"node-{test.namespace}"
    kube = test.kube
    kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    test.cluster = dataclasses.replace(test.cluster, nodes=(Node(name=name, address="", exec=(), role="worker"),))
    pod = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-0", "namespace": test.namespace, "labels": {"app": "web"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": True}
            ],
        },
        "spec": {"nodeName": name, "containers": [{"name": "a", "image": "a:1"}]},
    }  # fmt: skip
    kube.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": test.namespace}}
    )
    kube.create(pod)
    budgets = kube.resource("poddisruptionbudgets")
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}
    made = kube.create(
        {
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": test.namespace}, "spec": {"minAvailable": 1, "selector": selector},
        }
    )  # fmt: skip
    healthy = {"status": {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}}
    kube.patch(kube.resource("pods"), "web-0", test.namespace, healthy, subresource="status")

    def allow(disruptions: int) -> None:
        status = {
            "disruptionsAllowed": disruptions, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
            "observedGeneration": made["metadata"]["generation"],
        }  # fmt: skip
        kube.patch(budgets, "web", test.namespace, {"status": status}, subresource="status")

    drain = "nodes: {drain: {nodes: all, gracePeriod: 0}}"
    allow(0)
    held = test.run(drain, disruptive=True, timeout=1.0)
    assert held.status == "failed"
    assert f"pod {test.namespace}/web-0 can't go: the disruption budget web needs 1 healthy" in held.message

    allow(1)
    gone = test.run(drain, disruptive=True, timeout=20.0)

    assert (gone.status, gone.message) == ("passed", f"drained {name}: 1 evicted")
    assert test.get("pods", "web-0") is None
    nodes = kube.resource("nodes")
    assert (kube.get(nodes, name) or {})["spec"]["unschedulable"] is True
    assert test.end() == []
    assert "unschedulable" not in (kube.get(nodes, name) or {})["spec"]
    kube.delete(nodes, name)

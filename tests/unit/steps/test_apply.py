from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.kube import ApiError, UnknownKind
from koalesce.steps.base import Errored, Failed, Passed
from koalesce.yaml import InvalidDocument
from tests.fakes import LABELS, FakeCluster, FakeFiles, api_error, context, made, step

SETTINGS = "apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: b}}}"
ROLE = "apply: {object: {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: reader}}}"


def applied(cluster: FakeCluster) -> list[dict[str, Any]]:
    return [what["object"] for verb, what in cluster.kube.requests if verb == "apply"]


def test_objects_go_to_the_namespace_of_the_test_with_its_labels() -> None:
    cluster = FakeCluster()

    outcome = step(SETTINGS).act(context(cluster))

    assert outcome == Passed("applied configmap/settings", cluster.get("cm", "settings"))
    assert applied(cluster) == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "test-ns", "labels": LABELS}, "data": {"a": "b"}}
    ]  # fmt: skip


def test_what_is_in_the_namespace_of_the_test_goes_with_it() -> None:
    cluster = FakeCluster()

    step(SETTINGS).act(context(cluster))

    assert cluster.scope.deferred == []


def test_what_outlives_the_namespace_is_deleted_at_the_end() -> None:
    cluster = FakeCluster()

    step(ROLE).act(context(cluster))

    assert [what for what, _ in cluster.scope.deferred] == ["delete clusterrole/reader"]
    assert cluster.get("clusterrole", "reader") is not None
    cluster.scope.unwind()
    assert cluster.get("clusterrole", "reader") is None


def test_the_undo_is_there_before_the_act() -> None:
    cluster = FakeCluster()
    cluster.kube.fail("apply", api_error(500, "etcd is on fire"))

    with pytest.raises(ApiError, match="clusterrole/reader: etcd is on fire") as raised:
        step(ROLE).act(context(cluster))

    assert raised.value.transient
    assert [what for what, _ in cluster.scope.deferred] == ["delete clusterrole/reader"]


def test_a_second_try_defers_no_second_undo() -> None:
    cluster = FakeCluster()
    cluster.kube.fail("apply", api_error(503, "not ready"))
    same_step = context(cluster)

    with pytest.raises(ApiError):
        step(ROLE).act(same_step)
    step(ROLE).act(same_step)

    assert len(cluster.scope.deferred) == 1


def test_the_undo_leaves_what_became_anothers() -> None:
    cluster = FakeCluster()
    step(ROLE).act(context(cluster))
    cluster.add(made("ClusterRole", "reader", api="rbac.authorization.k8s.io/v1", labels={"koalesce.dev/run": "r2"}))

    cluster.scope.unwind()

    assert cluster.get("clusterrole", "reader") is not None


def test_an_object_of_another_test_is_not_touched() -> None:
    theirs = made("ConfigMap", "settings", labels={"koalesce.dev/run": "r1", "koalesce.dev/test": "t2"})
    cluster = FakeCluster(theirs)

    outcome = step(SETTINGS).act(context(cluster))

    assert outcome == Errored(
        "configmap/settings in test-ns belongs to another test (koalesce.dev/test=t2); a test may change only what it made",
        final=True,
    )
    assert applied(cluster) == []


def test_an_object_of_the_cluster_is_not_touched() -> None:
    cluster = FakeCluster(made("Node", "worker-1"))

    outcome = step("apply: {object: {apiVersion: v1, kind: Node, metadata: {name: worker-1, labels: {a: b}}}}").act(
        context(cluster)
    )

    assert outcome == Errored(
        "node/worker-1 belongs to the cluster; only a test that says disruptive: true may change it", final=True
    )
    assert cluster.scope.deferred == []


def test_what_a_controller_made_in_the_tests_namespace_may_be_changed() -> None:
    cluster = FakeCluster(made("ServiceAccount", "default"))

    outcome = step("apply: {object: {apiVersion: v1, kind: ServiceAccount, metadata: {name: default}}}").act(
        context(cluster)
    )

    assert isinstance(outcome, Passed)


def test_many_objects_are_counted_in_the_message() -> None:
    objects = ", ".join(f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c{index}}}}}" for index in range(5))

    assert step(f"apply: {{objects: [{objects}]}}").act(context(FakeCluster())).message == "applied 5 objects"


def test_its_own_objects_may_be_changed() -> None:
    cluster = FakeCluster()
    same_test = context(cluster)

    step(ROLE).act(same_test)
    outcome = step(ROLE).act(same_test)

    assert isinstance(outcome, Passed)
    assert len(cluster.scope.deferred) == 1


def test_namespaces_and_definitions_come_first() -> None:
    cluster = FakeCluster()

    step(
        """
        apply:
          objects:
          - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
          - {apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: b}}
          - {apiVersion: v1, kind: Namespace, metadata: {name: c}}
        """
    ).act(context(cluster))

    assert [obj["kind"] for obj in applied(cluster)] == ["Namespace", "CustomResourceDefinition", "ConfigMap"]


def test_options_reach_the_api_server() -> None:
    cluster = FakeCluster()

    outcome = step(
        SETTINGS.replace("apply: {", "apply: {fieldManager: me, force: false, dryRun: true, namespace: other, ")
    ).act(context(cluster))

    (_, what), = [request for request in cluster.kube.requests if request[0] == "apply"]  # fmt: skip
    assert (what["field_manager"], what["force"], what["dry_run"]) == ("me", False, True)
    assert what["object"]["metadata"]["namespace"] == "other"
    assert outcome.message == "configmap/settings would be accepted"
    assert cluster.scope.deferred == []


def test_files_are_read_as_kubectl_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {mode: 0644, on: 2026-01-01}\n---\n"
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
    )
    (tmp_path / "b.json").write_text(
        '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}]}'
    )
    cluster = FakeCluster()

    outcome = step("apply: [a.yaml, b.json]").act(context(cluster, root=tmp_path))

    assert outcome.message == "applied configmap/a, secret/s, configmap/b"
    assert applied(cluster)[0]["data"] == {"mode": 420, "true": "2026-01-01"}
    assert [obj["metadata"]["name"] for obj in outcome.value["items"]] == ["a", "s", "b"]


def test_files_are_filled_in_only_where_asked(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: '${{ vars.version }}'}\n"
    )
    cluster = FakeCluster()
    variables = {"vars": {"version": "v2"}}

    step("apply: a.yaml").act(context(cluster, root=tmp_path, variables=variables))
    step("apply: {file: a.yaml, expressions: true}").act(context(cluster, root=tmp_path, variables=variables))

    assert [obj["data"]["v"] for obj in applied(cluster)] == ["${{ vars.version }}", "v2"]


def test_an_unknown_kind_is_tried_again_by_the_engine() -> None:
    with pytest.raises(UnknownKind):
        step("apply: {object: {apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}}").act(
            context(FakeCluster())
        )


def test_a_refusal_names_the_object_and_keeps_its_status() -> None:
    cluster = FakeCluster()
    cluster.kube.fail("apply", api_error(422, "spec.replicas: must be 0 or more", reason="Invalid"))

    with pytest.raises(ApiError) as raised:
        step(SETTINGS).act(context(cluster))

    assert (raised.value.message, raised.value.status, raised.value.reason) == (
        "configmap/settings in test-ns: spec.replicas: must be 0 or more", 422, "Invalid",
    )  # fmt: skip


def test_an_unknown_field_is_the_authors_mistake() -> None:
    cluster = FakeCluster()
    cluster.kube.fail(
        "apply", api_error(500, "failed to create typed patch object: .spec.nope: field not declared in schema")
    )

    with pytest.raises(ApiError) as raised:
        step(SETTINGS).act(context(cluster))

    assert raised.value.status == 422
    assert not raised.value.transient


def test_files_are_checked_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("kind: ConfigMap\nmetadata: {name: a}\n")
    files = FakeFiles(tmp_path)

    assert step("apply: none.yaml").static_problems(files) == ["none.yaml: no such file"]
    (problem,) = step("apply: bad.yaml").static_problems(files)
    assert problem.endswith("bad.yaml:1:1: apiVersion: an object needs apiVersion")
    assert step("apply: '${{ vars.file }}'").static_problems(files) == []
    with pytest.raises(InvalidDocument):
        step("apply: bad.yaml").act(context(FakeCluster(), root=tmp_path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("apply: {}", "apply needs at least one of object, objects, file and files"),
        ("apply: {object: {kind: ConfigMap}}", "an object needs apiVersion, metadata.name"),
        ("apply: {file: a.yaml, force: 'yes'}", "valid boolean"),
        ("apply: {file: a.yaml, prune: true}", "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_invalid(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(text)

    assert problem in str(raised.value)


def test_the_title_says_what_is_applied() -> None:
    assert step(SETTINGS).title() == "apply configmap/settings"
    assert step("apply: [a, b, c, d, e]").title() == "apply a, b, c, d and 1 more"


def test_what_was_applied_counts_as_seen_but_a_dry_run_does_not() -> None:
    cluster = FakeCluster()
    absent = step("assert: {resource: cm/settings, absent: true}")
    dry, real = context(cluster), context(cluster)

    step(SETTINGS.replace("apply: {", "apply: {dryRun: true, ")).act(dry)
    step(SETTINGS).act(real)
    cluster.kube.remove("cm", "settings", "test-ns")

    assert isinstance(absent.attempt(dry), Failed)
    assert isinstance(absent.attempt(real), Passed)

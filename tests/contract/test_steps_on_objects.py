"""The steps on objects against a real API server: what fakes can't tell."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koalesce import process
from koalesce.cluster import Cluster
from koalesce.kube import ApiError
from koalesce.matching.jsonpath import compile_path
from koalesce.steps.base import Errored, Failed, Passed, StepContext
from koalesce.steps.sightings import Sightings
from tests.contract.api_server import ApiServer
from tests.fakes import FakeFiles, FakeScope, step

LABELS = {"koalesce.dev/run": "r1", "koalesce.dev/test": "t1"}


class Test:
    """A test of the real server: contexts with views of it, closed at the end."""

    __test__ = False

    def __init__(self, server: ApiServer, namespace: str, root: Path) -> None:
        self.kube = server.kube
        self.namespace = namespace
        self.scope = FakeScope()
        self.changed = threading.Event()
        self.views: list[Any] = []
        self._root = root
        self._sightings = Sightings()
        self._cluster = Cluster(
            name="c", provider="kubeconfig", kubernetes="1.37.2", nodes=(), kubeconfig=server.kubeconfig, kube=self.kube,
            dns_ip="", capabilities=frozenset(), pod_cidr="", service_cidr="",
        )  # fmt: skip

    def context(self, **more: Any) -> StepContext:
        view = self.kube.view(self.changed.set)
        self.views.append(view)
        view.begin()
        return StepContext(
            cluster=self._cluster, view=view, namespace=self.namespace, scope=self.scope, files=FakeFiles(self._root),
            labels=LABELS, sightings=self._sightings, **more,
        )  # fmt: skip

    def act(self, text: str) -> Any:
        return step(text).act(self.context())

    def look(self, text: str, **more: Any) -> Any:
        return step(text).attempt(self.context(**more))

    def until_passed(self, text: str) -> Any:
        """Look again whenever something changed, as the engine does; the last outcome after 10 s without a change."""
        given, wanted = self.context(), step(text)
        while True:
            self.changed.clear()
            given.view.begin()
            outcome = wanted.attempt(given)
            if isinstance(outcome, Passed) or not self.changed.wait(10):
                return outcome


@pytest.fixture
def test(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Test]:
    given = Test(api_server, namespace, tmp_path)
    yield given
    given.scope.unwind()
    for view in given.views:
        view.close()


def test_what_is_applied_can_be_asserted_read_and_deleted(test: Test) -> None:
    applied = test.act("apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '1'}}}")

    assert isinstance(applied, Passed)
    assert applied.value["metadata"]["labels"] == LABELS
    assert isinstance(test.look("assert: {resource: cm/c, match: {data: {a: '1'}}}"), Passed)
    assert isinstance(
        test.look(
            "jsonpath: {resource: configmaps, selector: koalesce.dev/test=t1, path: '{.items[*].data.a}', all: '1'}"
        ),
        Passed,
    )
    assert test.until_passed("delete: cm/c").message == "configmap/c gone"
    assert test.look("wait-for: {resource: cm/c, deleted: true}") == Passed("cm/c gone")
    assert test.look("assert: {resource: cm/c, absent: true}") == Passed("cm/c absent")


def test_manifests_mean_what_kubectl_takes_them_for(test: Test, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {when: '2026-01-01'}}\n"
        "spec:\n  automountServiceAccountToken: off\n  containers: [{name: c, image: c}]\n"
        "  volumes: [{name: v, configMap: {name: c, defaultMode: 0644}}]\n"
    )

    test.act("apply: p.yaml")

    assert isinstance(
        test.look("assert: {resource: pod/p, match: {spec: {automountServiceAccountToken: false, volumes: {contains: {configMap: {defaultMode: 420}}}}}}"),
        Passed,
    )  # fmt: skip


def test_a_change_after_the_look_is_told(test: Test) -> None:
    test.act("apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '1'}}}")
    wait = step("wait-for: {resource: cm/c, jsonpath: {path: '{.data.a}', equals: '2'}}")
    given = test.context()

    assert wait.attempt(given) == Failed(
        'cm/c: {.data.a} is "1", expected "2"'.replace("cm/", "configmap/"), '"2"', '"1"'
    )
    test.changed.clear()
    test.act("apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '2'}}}")

    assert test.changed.wait(60)
    assert isinstance(wait.attempt(given), Passed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, dta: {a: b}}", "dta"),
        ("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 70000}]}}", "70000"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: Not_A_Name}}", "Not_A_Name"),
    ],
)
def test_what_the_server_refuses_fails_at_once_and_is_named(test: Test, text: str, message: str) -> None:
    with pytest.raises(ApiError, match=message) as raised:
        test.act(f"apply: {{object: {text}}}")

    assert not raised.value.transient
    assert raised.value.status == 422 or raised.value.status == 400
    assert f"in {test.namespace}: " in raised.value.message


def test_an_unforced_conflict_names_the_manager(test: Test) -> None:
    test.act(
        "apply: {fieldManager: first, object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '1'}}}"
    )

    with pytest.raises(ApiError, match="first") as raised:
        test.act(
            "apply: {force: false, object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '2'}}}"
        )

    assert (raised.value.status, raised.value.transient) == (409, False)


def test_a_dry_run_leaves_nothing(test: Test) -> None:
    outcome = test.act("apply: {dryRun: true, object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}}")

    assert outcome.message == "configmap/c would be accepted"
    assert test.look("wait-for: {resource: cm/c, exists: true}") == Failed("cm/c does not exist", "there", "missing")


def test_cluster_scoped_objects_go_at_the_end_and_foreign_ones_stay(test: Test) -> None:
    role = (
        f"{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: reader-{test.namespace}}}}}"
    )
    test.act(f"apply: {{object: {role}}}")
    foreign = test.act(
        "apply: {object: {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: view}}}"
    )

    assert foreign == Errored(
        "clusterrole/view belongs to the cluster; only a test that says disruptive: true may change it", final=True
    )
    test.scope.unwind()
    assert test.look(f"wait-for: {{resource: clusterrole/reader-{test.namespace}, exists: true}}") == Failed(
        f"clusterrole/reader-{test.namespace} does not exist", "there", "missing"
    )


def test_a_finalizer_holds_a_deletion_up(test: Test) -> None:
    test.act("apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c, finalizers: [example.com/hold]}}}")

    assert test.look("delete: cm/c").message == "configmap/c still there, finalizers: example.com/hold"
    release = threading.Timer(
        0.2, test.kube.patch, (test.kube.resource("cm"), "c", test.namespace, {"metadata": {"finalizers": None}})
    )
    release.start()
    assert test.until_passed("delete: cm/c").message == "configmap/c gone"
    release.join()


def test_an_unknown_kind_is_told_with_the_likely_one(test: Test) -> None:
    outcome = test.look("assert: {resource: servces/web, absent: true}")

    assert isinstance(outcome, Failed)
    assert 'has no kind "servces"; did you mean "services"' in outcome.message


PATHS = [
    "{.items[*].metadata.name}",
    "{.items[0].metadata.labels.app\\.kubernetes\\.io/name}",
    '{.items[?(@.metadata.name=="b")].data.k}',
    "{.items[?(@.data.k)].metadata.name}",
    '{range .items[*]}{.metadata.name}={.data.k};{"\\n"}{end}',
    "{.items[-1:].metadata.name}",
    "{.items[0,1].metadata.name}",
    "{.kind}",
    "{..k}",
    "{.items[*].data}",
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_mean_what_kubectl_takes_them_for(test: Test, api_server: ApiServer, path: str) -> None:
    for name in ("a", "b"):
        test.act(f"apply: {{object: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, labels: {{app.kubernetes.io/name: n}}}}, data: {{k: v-{name}}}}}}}")  # fmt: skip
    get = ["kubectl", "--kubeconfig", str(api_server.kubeconfig), "-n", test.namespace, "get", "configmaps", "-o"]
    try:
        document = json.loads(process.run([*get, "json"], timeout=30).check().out)
    except process.CommandMissing:
        pytest.skip("kubectl is not in PATH")

    theirs = process.run([*get, f"jsonpath={path}"], timeout=30).check().out

    assert compile_path(path).render(document) == theirs

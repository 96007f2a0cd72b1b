"""The API client against a real API server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from koalesce.kube import ApiError, Kube, UnknownKind
from koalesce.kube.discovery import Discovery
from koalesce.kube.follower import Follower
from koalesce.kube.resource import Resource
from koalesce.kube.store import Store
from tests.contract.api_server import ApiServer


@pytest.fixture
def kube(api_server: ApiServer) -> Iterator[Kube]:
    """A client of the test's own: nothing is watched or known yet."""
    kube = Kube(api_server.kubeconfig)
    yield kube
    kube.close()


def config_map(name: str, namespace: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, **fields}


def deployment(namespace: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": pod, **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": spec,
    }


def widgets(group: str) -> dict[str, Any]:
    """A CustomResourceDefinition of namespaced widgets."""
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wdg"]},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def until_it_works(act: Callable[[], Any]) -> Any:
    """Repeat what isn't ready yet, as the engine does."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return act()
        except ApiError as error:
            if not error.transient or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def refusal(act: Callable[[], Any]) -> ApiError:
    """The first refusal of what is allowed at first."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            act()
        except ApiError as error:
            return error
        time.sleep(0.05)
    raise AssertionError("never refused")


def preferred(resources: tuple[Resource, ...]) -> dict[tuple[str, str], Resource]:
    found: dict[tuple[str, str], Resource] = {}
    for resource in resources:
        found.setdefault((resource.group, resource.plural), resource)
    return found


def test_discovery_is_what_kubectl_lists(api_server: ApiServer, kube: Kube) -> None:
    lines = api_server.kubectl("api-resources", "--no-headers", "-o", "wide").splitlines()
    listed = set()
    for line in lines:
        words = line.split()
        short = words.pop(1) if words[2] not in ("true", "false") else ""
        name, api_version, namespaced, kind, verbs = words[:5]
        listed.add((name, short, api_version, namespaced == "true", kind, frozenset(verbs.split(","))))

    ours = {
        (r.plural, ",".join(r.short_names), r.api_version, r.namespaced, r.kind, r.verbs)
        for r in preferred(kube.resources()).values()
    }

    assert len(listed) > 40
    assert ours == listed


def test_discovery_without_aggregation_is_the_same(kube: Kube) -> None:
    plain = Discovery(lambda path, _accept: kube.request("GET", path))

    assert set(plain.resources()) == set(kube.resources())


def test_an_apply_meets_other_managers(kube: Kube, namespace: str) -> None:
    kube.apply(deployment(namespace, replicas=1), field_manager="someone")

    with pytest.raises(ApiError) as caught:
        kube.apply(deployment(namespace, replicas=2), force=False)

    assert (caught.value.status, caught.value.reason, caught.value.transient) == (409, "Conflict", False)
    assert caught.value.message.splitlines()[-1].split() == [".spec.replicas", "someone"]
    assert kube.apply(deployment(namespace, replicas=3))["spec"]["replicas"] == 3


def test_an_apply_is_strict(kube: Kube, namespace: str) -> None:
    acts: tuple[Callable[[], object], ...] = (
        lambda: kube.apply(deployment(namespace, replica=1)),
        lambda: kube.create(deployment(namespace, replica=1)),
    )
    for act in acts:
        with pytest.raises(ApiError, match="replica") as caught:
            act()
        assert not caught.value.transient

    assert kube.list(kube.resource("deploy"), namespace=namespace) == []


def test_an_invalid_value_is_no_trouble_of_the_server(kube: Kube, namespace: str) -> None:
    with pytest.raises(ApiError) as caught:
        kube.apply(deployment(namespace, replicas=-1))

    assert (caught.value.status, caught.value.transient) == (422, False)
    assert [cause.field for cause in caught.value.causes] == ["spec.replicas"]


def test_a_dry_run_changes_nothing(kube: Kube, namespace: str) -> None:
    assert kube.apply(config_map("a", namespace, data={"x": "1"}), dry_run=True)["data"] == {"x": "1"}

    assert kube.get(kube.resource("cm"), "a", namespace) is None


def test_patches_of_all_types(kube: Kube, namespace: str) -> None:
    deployments = kube.resource("deployments.apps")
    kube.apply(deployment(namespace, replicas=1))

    kube.patch(deployments, "web", namespace, {"spec": {"replicas": 2}})
    kube.patch(deployments, "web", namespace, [{"op": "replace", "path": "/spec/paused", "value": True}], type="json")
    containers = [{"name": "more", "image": "more"}]
    kube.patch(
        deployments, "web", namespace, {"spec": {"template": {"spec": {"containers": containers}}}}, type="strategic"
    )
    kube.patch(deployments, "web", namespace, {"status": {"replicas": 7}}, subresource="status")

    found = kube.get(deployments, "web", namespace)
    assert found is not None
    assert (found["spec"]["replicas"], found["spec"]["paused"], found["status"]["replicas"]) == (2, True, 7)
    assert [container["name"] for container in found["spec"]["template"]["spec"]["containers"]] == ["more", "web"]


def test_a_webhook_that_is_not_up_is_transient(kube: Kube, namespace: str) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    hook = {
        "name": "closed.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    name = f"closed-{namespace}"
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    kube.apply({**api, "metadata": {"name": name}, "webhooks": [hook]})
    try:
        new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-", "namespace": namespace}}
        error = refusal(lambda: kube.create(new))
        assert "failed calling webhook" in error.message
        assert (error.status, error.transient) == (500, True)
    finally:
        kube.delete(kube.resource("validatingwebhookconfigurations"), name)


def test_a_change_wakes_who_read(kube: Kube, namespace: str) -> None:
    woken = threading.Event()
    view = kube.view(woken.set)
    kind = kube.resource("cm")
    view.begin()
    assert view.get(kind, "a", namespace) is None

    for value in ("1", "2", "3"):
        kube.apply(config_map("a", namespace, data={"x": value}))
        assert woken.wait(60)
        assert view.changed
        woken.clear()
        view.begin()
        found = view.get(kind, "a", namespace)
        assert found is not None
        assert found["data"] == {"x": value}
    view.close()


def test_a_first_look_sees_all_that_was_written_before(api_server: ApiServer, kube: Kube, namespace: str) -> None:
    kind = kube.resource("cm")
    held = kube.view(lambda: None)
    held.list(kind, namespace=namespace)  # keeps the store, so that it could be behind

    for number in range(100):
        kube.apply(config_map("a", namespace, data={"x": str(number)}))
        view = kube.view(lambda: None)
        found = view.get(kind, "a", namespace)
        view.close()
        assert found is not None
        assert found["data"] == {"x": str(number)}
    api_server.kubectl("delete", "configmap", "a", f"--namespace={namespace}", "--wait=false")
    view = kube.view(lambda: None)
    assert view.get(kind, "a", namespace) is None
    assert view.list(kind, namespace=namespace, selector="app=web") == []
    view.close()
    held.close()


def test_a_kind_that_comes_and_goes(kube: Kube, namespace: str) -> None:
    group = f"{namespace}.example.com"
    with pytest.raises(UnknownKind):
        kube.resource(f"widgets.{group}")
    kube.apply(widgets(group))
    widget = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": namespace},
        "spec": {"size": 3},
    }

    until_it_works(lambda: kube.apply(widget))

    kind = kube.resource(f"wdg.{group}")
    woken = threading.Event()
    view = kube.view(woken.set)
    view.begin()
    found = view.get(kind, "w", namespace)
    assert found is not None
    assert found["spec"] == {"size": 3}

    kube.delete(kube.resource("crd"), f"widgets.{group}")

    def look() -> None:
        view.begin()
        view.get(kind, "w", namespace)

    assert isinstance(refusal(look), UnknownKind)
    view.close()


def test_a_thousand_objects(kube: Kube, namespace: str) -> None:
    kind = kube.resource("cm")
    wanted = [f"cm-{number:04d}" for number in range(1000)]

    def create(part: int) -> None:
        for name in wanted[part::8]:
            kube.create(config_map(name, namespace))

    threads = [threading.Thread(target=create, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    view = kube.view(lambda: None)
    watched = [obj["metadata"]["name"] for obj in view.list(kind, namespace=namespace)]
    listed = [obj["metadata"]["name"] for obj in kube.list(kind, namespace=namespace)]
    view.close()

    assert watched == wanted
    assert listed == wanted


def test_a_version_that_has_expired_is_listed_anew(api_server: ApiServer, kube: Kube, namespace: str) -> None:
    kind = kube.resource("cm")
    kube.apply(config_map("a", namespace))
    store = Store(kind, namespace)
    store.replace({(namespace, "gone"): config_map("gone", namespace)}, "2")
    follower = Follower(store, lambda: kube.transport, kube.list_all)
    changes: list[tuple[str, bool]] = []
    store.listen(lambda change: changes.append((change.key[1], change.new is None)) if change else None)
    api_server.kill_api()
    api_server.start_api()  # one that has just begun knows of nothing before
    old = kube.transport.stream(kind.path(namespace), query={"watch": True, "resourceVersion": "2"}, silence=10)
    assert b'"code":410' in next(old.lines())
    old.close()

    follower.start()
    assert store.await_state(lambda objects, _version: set(objects) == {(namespace, "a")}, time.monotonic() + 60)
    follower.close()
    follower.join()

    assert ("gone", True) in changes


def test_deletion_waits_for_finalizers(kube: Kube, namespace: str) -> None:
    kind = kube.resource("cm")
    held = config_map("a", namespace)
    kube.apply({**held, "metadata": {**held["metadata"], "finalizers": ["example.com/hold"]}})

    assert kube.delete(kind, "a", namespace)
    leaving = kube.get(kind, "a", namespace)
    assert leaving is not None
    assert leaving["metadata"]["deletionTimestamp"]
    with pytest.raises(ApiError) as caught:
        kube.create(held)
    assert caught.value.transient == ("object is being deleted" in caught.value.message)

    kube.patch(kind, "a", namespace, {"metadata": {"finalizers": None}})
    assert kube.get(kind, "a", namespace) is None
    assert not kube.delete(kind, "a", namespace)


def test_tables_are_kubectl_s(api_server: ApiServer, kube: Kube, namespace: str) -> None:
    kube.apply(config_map("a", namespace, data={"x": "1"}))

    assert kube.table(kube.resource("clusterroles")) == api_server.kubectl("get", "clusterroles")
    ours = kube.table(kube.resource("cm")).splitlines()
    theirs = api_server.kubectl("get", "configmaps", "--all-namespaces").splitlines()
    assert [line.split()[:3] for line in ours] == [line.split()[:3] for line in theirs]
    wide = kube.table(kube.resource("deploy"), namespace, wide=True)
    assert wide == "No resources found\n"


def test_a_restart_of_the_api_server_is_survived(api_server: ApiServer, kube: Kube, namespace: str) -> None:
    woken = threading.Event()
    view = kube.view(woken.set)
    kind = kube.resource("cm")
    kube.apply(config_map("a", namespace, data={"x": "1"}))
    view.begin()
    view.get(kind, "a", namespace)

    api_server.kill_api()
    with pytest.raises(ApiError) as caught:
        kube.version()
    assert caught.value.transient
    api_server.start_api()
    kube.apply(config_map("a", namespace, data={"x": "2"}))

    assert woken.wait(60)
    view.begin()
    found = view.get(kind, "a", namespace)
    assert found is not None
    assert found["data"] == {"x": "2"}
    view.close()

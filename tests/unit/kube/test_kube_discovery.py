from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from koalesce.kube import Kube, UnknownKind
from koalesce.kube.discovery import Discovery
from koalesce.kube.limits import Limits
from koalesce.kube.resource import Resource
from tests.unit.kube.api_server import FakeApi, serve

WIDGETS = {"widgets": ("Widget", True, ["wd"])}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("aggregated", [True, False])
@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("configmap", "/api/v1/configmaps"),
        ("ConfigMap", "/api/v1/configmaps"),
        ("configmaps", "/api/v1/configmaps"),
        ("cm", "/api/v1/configmaps"),
        ("ns", "/api/v1/namespaces"),
        ("Deployment", "/apis/apps/v1/deployments"),
        ("deployments.apps", "/apis/apps/v1/deployments"),
        ("deployments.v1beta1.apps", "/apis/apps/v1beta1/deployments"),
        ("scale", "/apis/apps/v1beta1/scales"),
    ],
)
def test_finds_the_kind_that_kubectl_takes(kube: Kube, api: FakeApi, word: str, path: str, *, aggregated: bool) -> None:
    api.aggregated = aggregated

    assert kube.resource(word).path() == path


def test_knows_scope_verbs_and_names(kube: Kube) -> None:
    found = kube.resource("cm")

    assert found == Resource(
        "", "v1", "ConfigMap", "configmaps", namespaced=True, singular="configmap", short_names=("cm",),
        verbs=frozenset({"create", "delete", "get", "list", "patch", "watch"}),
    )  # fmt: skip
    assert found.path("a b", "c/d") == "/api/v1/namespaces/a%20b/configmaps/c%2Fd"


def test_takes_two_requests_for_everything(kube: Kube, api: FakeApi) -> None:
    for word in ("cm", "ns", "deploy", "configmap"):
        kube.resource(word)
    kube.resource_of({"apiVersion": "apps/v1beta1", "kind": "Scale"})

    assert [path for _, path, _ in api.requests] == ["/api", "/apis"]


def test_an_unknown_kind_is_close_to_a_known_one(kube: Kube) -> None:
    with pytest.raises(UnknownKind) as caught:
        kube.resource("deploymnet")

    assert str(caught.value) == 'the cluster has no kind "deploymnet"\n  hint: did you mean "deployment"?'


def test_an_object_of_another_version_is_unknown(kube: Kube) -> None:
    with pytest.raises(UnknownKind, match='no kind "ConfigMap" in v2'):
        kube.resource_of({"apiVersion": "v2", "kind": "ConfigMap"})


def test_a_missing_kind_is_looked_for_at_most_once_a_second(kube: Kube, api: FakeApi) -> None:
    clock = Clock()
    discovery = Discovery(lambda path, accept: kube.request("GET", path, accept=accept), now=clock)
    for _ in range(50):
        with pytest.raises(UnknownKind):
            discovery.find("widget")
        clock.now += 0.1

    assert api.count("GET", "/apis") == 5


def test_a_kind_that_comes_is_found_with_the_next_look(kube: Kube, api: FakeApi) -> None:
    clock = Clock()
    discovery = Discovery(lambda path, accept: kube.request("GET", path, accept=accept), now=clock)
    with pytest.raises(UnknownKind):
        discovery.find("widget")
    api.kinds["/apis/example.com/v1"] = WIDGETS
    clock.now += 1

    assert discovery.find("widgets.example.com").kind == "Widget"


def test_a_kind_that_is_about_to_come_is_looked_for_more_often(kube: Kube, api: FakeApi) -> None:
    clock = Clock()
    discovery = Discovery(lambda path, accept: kube.request("GET", path, accept=accept), now=clock)
    discovery.resources()
    discovery.expect()
    api.kinds["/apis/example.com/v1"] = WIDGETS
    clock.now += 0.1

    assert discovery.find("wd").kind == "Widget"


def test_an_extension_that_is_down_hides_only_its_own_kinds(kube: Kube, api: FakeApi) -> None:
    api.aggregated = False
    api.failing["/apis/apps/v1beta1"] = (503, "down")

    assert kube.resource("deploy").version == "v1"
    with pytest.raises(UnknownKind):
        kube.resource("scale")


def test_another_cluster_at_the_same_address_is_another_cluster(
    tmp_path: Path, connect: Callable[[Path, Limits], Kube]
) -> None:
    old, new = FakeApi(), FakeApi()
    old.kinds["/apis/example.com/v1"] = WIDGETS
    with serve(old, tmp_path) as kubeconfig:
        assert connect(kubeconfig, Limits()).resource("widget").group == "example.com"
        port = int(kubeconfig.read_text().split("127.0.0.1:")[1].split('"')[0])
    with serve(new, tmp_path, port=port) as kubeconfig, pytest.raises(UnknownKind):
        connect(kubeconfig, Limits()).resource("widget")

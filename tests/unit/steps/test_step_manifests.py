from __future__ import annotations

import copy
from typing import Any

import pytest

from koalesce.errors import UsageError
from koalesce.steps.objects.manifests import (
    apply_order,
    image_references,
    patch_objects,
    rewrite_images,
    with_namespace,
)
from koalesce.steps.objects.merging import strategic_merge
from tests.fakes import made


def daemon_set(image: str = "docker.io/cloudnativelabs/kube-router:v1") -> dict[str, Any]:
    return made(
        "DaemonSet", "kube-router", api="apps/v1",
        spec={
            "template": {
                "spec": {
                    "initContainers": [{"name": "install", "image": image}],
                    "containers": [{"name": "router", "image": image, "args": ["--a", "--b"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}],
                    "volumes": [{"name": "data", "image": {"reference": "registry.test:5000/data"}}, {"name": "x", "emptyDir": {}}],
                }
            }
        },
    )  # fmt: skip


CRON = made(
    "CronJob", "c", api="batch/v1",
    spec={"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "busybox"}]}}}}},
)  # fmt: skip
CRD = made(
    "CustomResourceDefinition", "x", api="apiextensions.k8s.io/v1",
    spec={"schema": {"properties": {"containers": {"type": "array", "image": "no"}, "image": {"type": "string"}}}},
)  # fmt: skip


def test_images_of_all_containers_and_volumes_are_found() -> None:
    assert image_references([CRD, daemon_set(), CRON]) == [
        "docker.io/cloudnativelabs/kube-router:v1", "registry.test:5000/data", "busybox",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "images"),
    [
        ("docker.io/cloudnativelabs/kube-router", "docker.io/cloudnativelabs/kube-router:v2", ["docker.io/cloudnativelabs/kube-router:v2", "registry.test:5000/data", "busybox"]),
        ("cloudnativelabs/kube-router:v1", "mine.test/router", ["mine.test/router:v1", "registry.test:5000/data", "busybox"]),
        ("docker.io/library/busybox:latest", "mine.test/box:2", ["docker.io/cloudnativelabs/kube-router:v1", "registry.test:5000/data", "mine.test/box:2"]),
        ("registry.test:5000/data", "registry.test:5000/other", ["docker.io/cloudnativelabs/kube-router:v1", "registry.test:5000/other", "busybox"]),
    ],
)  # fmt: skip
def test_images_are_rewritten(old: str, new: str, images: list[str]) -> None:
    objects = [daemon_set(), CRON]
    before = copy.deepcopy(objects)

    assert image_references(rewrite_images(objects, {old: new})) == images
    assert objects == before


def test_a_rewrite_that_fits_nothing_is_a_mistake() -> None:
    with pytest.raises(UsageError) as raised:
        rewrite_images([CRON], {"busybox:1.36": "busybox:1.37", "busybox": "box"})

    assert raised.value.message == "no image is busybox:1.36, so it can't be rewritten"
    assert raised.value.hint == "the manifests have: busybox"


def test_digests_are_kept() -> None:
    pinned = "busybox@sha256:" + "a" * 64
    job = made("Pod", "p", spec={"containers": [{"name": "c", "image": pinned}]})

    assert image_references(rewrite_images([job], {"busybox": "mine.test/box"})) == ["mine.test/box@sha256:" + "a" * 64]


def test_namespaces_and_definitions_come_first_and_the_rest_stays_in_order() -> None:
    objects = [made("Pod", "b"), CRD, made("Pod", "a"), made("Namespace", "n")]

    assert [obj["metadata"]["name"] for obj in apply_order(objects)] == ["n", "x", "b", "a"]


def test_a_namespace_is_given_only_where_none_is() -> None:
    labels = {"run": "r"}

    assert with_namespace(made("Pod", "p"), "n", labels)["metadata"] == {
        "name": "p",
        "namespace": "n",
        "labels": labels,
    }
    assert with_namespace(made("Pod", "p", namespace="m", labels={"a": "b"}), "n", labels)["metadata"] == {
        "name": "p", "namespace": "m", "labels": {"a": "b", "run": "r"},
    }  # fmt: skip
    assert with_namespace(made("Node", "p", namespace="m"), None, {})["metadata"] == {"name": "p"}


def test_a_patch_merges_lists_by_their_keys() -> None:
    patch = {
        "spec": {
            "template": {
                "spec": {
                    "hostNetwork": True,
                    "containers": [
                        {
                            "name": "router",
                            "args": ["--c"],
                            "env": [{"name": "B", "value": "3"}, {"name": "A", "$patch": "delete"}],
                        },
                        {"name": "extra", "image": "extra:1"},
                    ],
                    "volumes": [{"name": "x", "emptyDir": None, "hostPath": {"path": "/x"}}],
                }
            }
        }
    }

    (patched,) = patch_objects([daemon_set("router:1")], "daemonset/kube-router", patch)

    pod = patched["spec"]["template"]["spec"]
    assert pod["hostNetwork"] is True
    assert pod["containers"] == [
        {"name": "router", "image": "router:1", "args": ["--c"], "env": [{"name": "B", "value": "3"}]},
        {"name": "extra", "image": "extra:1"},
    ]
    assert pod["volumes"][1] == {"name": "x", "hostPath": {"path": "/x"}}
    assert pod["initContainers"] == [{"name": "install", "image": "router:1"}]


@pytest.mark.parametrize("resource", ["daemonset", "DaemonSets", "ds/kube-router", "daemonset.apps/kube-router"])
def test_patches_find_their_objects(resource: str) -> None:
    patched = patch_objects([CRON, daemon_set()], resource, {"metadata": {"labels": {"a": "b"}}})

    assert [obj["metadata"].get("labels") for obj in patched] == [None, {"a": "b"}]


@pytest.mark.parametrize(
    ("resource", "namespace"), [("deployment", None), ("daemonset/other", None), ("daemonset/kube-router", "elsewhere")]
)
def test_a_patch_that_fits_nothing_is_a_mistake(resource: str, namespace: str | None) -> None:
    with pytest.raises(UsageError, match=f"no object is {resource}, so it can't be patched") as raised:
        patch_objects([daemon_set()], resource, {}, namespace=namespace)

    assert raised.value.hint == "the manifests have: daemonset/kube-router"


def test_null_removes_and_replace_replaces() -> None:
    target = made("ConfigMap", "c", data={"a": "1", "b": "2"}, binaryData={"x": "y"})

    assert strategic_merge(target, {"data": {"a": None, "c": "3"}})["data"] == {"b": "2", "c": "3"}
    assert strategic_merge(target, {"data": {"$patch": "replace", "c": "3"}})["data"] == {"c": "3"}
    assert "binaryData" not in strategic_merge(target, {"binaryData": {"$patch": "delete"}})
    assert target["data"] == {"a": "1", "b": "2"}


def test_a_list_can_be_replaced_as_a_whole() -> None:
    service = made("Service", "s", spec={"ports": [{"port": 80}]})

    merged = strategic_merge(service, {"spec": {"ports": [{"$patch": "replace"}, {"port": 81}]}})

    assert merged["spec"]["ports"] == [{"port": 81}]


def test_finalizers_are_united_and_ports_told_apart() -> None:
    service = made("Service", "s", spec={"ports": [{"port": 80, "name": "a"}, {"port": 81}]})
    service["metadata"]["finalizers"] = ["one"]

    merged = strategic_merge(
        service, {"metadata": {"finalizers": ["two", "one"]}, "spec": {"ports": [{"port": 81, "name": "b"}]}}
    )

    assert merged["metadata"]["finalizers"] == ["one", "two"]
    assert merged["spec"]["ports"] == [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]


def test_lists_of_kinds_that_are_not_built_in_are_replaced() -> None:
    widget = made("Widget", "w", api="example.com/v1", spec={"containers": [{"name": "a"}, {"name": "b"}]})

    assert strategic_merge(widget, {"spec": {"containers": [{"name": "c"}]}})["spec"]["containers"] == [{"name": "c"}]

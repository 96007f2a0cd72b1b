"""Components: their order, and their objects before they are applied."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.engine.components import NotReady, in_order, prepared
from koalesce.errors import UsageError
from koalesce.spec.components import Component
from koalesce.steps.base import Errored, Failed


def component(name: str, **fields: Any) -> Component:
    return Component.model_validate({"name": name, "manifests": ["x.yaml"], **fields})


def test_the_network_comes_first_and_needs_come_before_what_needs_them() -> None:
    components = [
        component("app", needs=["database"]),
        component("database"),
        component("network", needs=["crds"]),
        component("crds"),
    ]

    assert [each.name for each in in_order(components, "network")] == ["crds", "network", "database", "app"]


def test_without_a_network_among_them_the_order_is_the_files() -> None:
    assert [each.name for each in in_order([component("b"), component("a")], "bridge")] == ["b", "a"]


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "c", "image": "docker.io/example/web:v1"}]},
}


def test_images_are_rewritten_and_patches_merged() -> None:
    item = prepared(
        component(
            "app",
            images={"docker.io/example/web": "docker.io/example/web:v2"},
            patches=[{"resource": "pod/web", "merge": {"metadata": {"labels": {"app": "web"}}}}],
        ),
        [POD],
    )

    (pod,) = item.objects
    assert pod["spec"]["containers"][0]["image"] == "docker.io/example/web:v2"
    assert pod["metadata"]["labels"] == {"app": "web"}


def test_a_json_patch_adds_one_argument_to_those_of_the_manifest() -> None:
    args = {"op": "add", "path": "/spec/containers/0/args", "value": ["-v=1"]}
    more = {"op": "add", "path": "/spec/containers/0/args/-", "value": "--enable-ipv6"}
    item = prepared(component("app", patches=[{"resource": "pod/web", "json": [args, more]}]), [POD])

    assert item.objects[0]["spec"]["containers"][0]["args"] == ["-v=1", "--enable-ipv6"]


def test_a_json_patch_that_can_not_be_done_names_object_and_operation() -> None:
    gone = {"op": "remove", "path": "/spec/volumes/0"}

    with pytest.raises(
        UsageError, match=r"pod/web can't be patched: json\[0\] \(remove /spec/volumes/0\): there is no"
    ):
        prepared(component("app", patches=[{"resource": "pod/web", "json": [gone]}]), [POD])


@pytest.mark.parametrize("patch", [{}, {"merge": {"a": 1}, "json": [{"op": "remove", "path": "/a"}]}])
def test_a_patch_says_exactly_one_change(patch: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="say exactly one of merge and json"):
        component("app", patches=[{"resource": "pod/web", **patch}])


def test_namespaces_and_kinds_are_applied_before_what_is_in_them() -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}

    assert [obj["kind"] for obj in prepared(component("app"), [POD, namespace]).objects] == ["Namespace", "Pod"]


def test_a_patch_that_fits_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="deployment/web"):
        prepared(component("app", patches=[{"resource": "deployment/web", "merge": {"a": 1}}]), [POD])


@pytest.mark.parametrize(
    ("outcome", "status"), [(Failed("0 of 3 replicas"), "failed"), (Errored("image can't be had"), "error")]
)
def test_what_is_not_ready_is_a_failure_unless_we_could_not_find_out(outcome: Failed | Errored, status: str) -> None:
    verdict = NotReady("app", outcome)

    assert (verdict.status, str(verdict)) == (status, f"component app: {outcome.message}")

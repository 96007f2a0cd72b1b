"""JSON patches of objects in files: what RFC 6902 says of each operation, and what is said of those that can't be done."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.steps.objects.json_patch import NotPatched, json_patched

POD = {
    "metadata": {"name": "web", "labels": {"a/b": "1", "c~d": "2"}},
    "spec": {"containers": [{"args": ["-v", "-x"]}]},
}
ARGS = "/spec/containers/0/args"


def op(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **more}


def args(*operations: dict[str, Any]) -> list[str]:
    found: list[str] = json_patched(POD, operations)["spec"]["containers"][0]["args"]
    return found


@pytest.mark.parametrize(
    ("operation", "then"),
    [
        (op("add", f"{ARGS}/-", value="-y"), ["-v", "-x", "-y"]),
        (op("add", f"{ARGS}/2", value="-y"), ["-v", "-x", "-y"]),
        (op("add", f"{ARGS}/0", value="-y"), ["-y", "-v", "-x"]),
        (op("remove", f"{ARGS}/0"), ["-x"]),
        (op("replace", f"{ARGS}/1", value="-y"), ["-v", "-y"]),
        (op("replace", ARGS, value=[]), []),
        (op("move", f"{ARGS}/0", **{"from": f"{ARGS}/1"}), ["-x", "-v"]),
        (op("copy", f"{ARGS}/-", **{"from": f"{ARGS}/0"}), ["-v", "-x", "-v"]),
        (op("test", f"{ARGS}/0", value="-v"), ["-v", "-x"]),
    ],
)
def test_lists(operation: dict[str, Any], then: list[str]) -> None:
    assert args(operation) == then
    assert args() == ["-v", "-x"]  # what is given is left alone


def test_maps_and_keys_with_slashes_and_tildes() -> None:
    operations = [
        op("remove", "/metadata/labels/a~1b"), op("replace", "/metadata/labels/c~0d", value="3"),
        op("add", "/metadata/labels/e", value=None), op("move", "/metadata/labels/f", **{"from": "/metadata/name"}),
    ]  # fmt: skip

    assert json_patched(POD, operations)["metadata"] == {"labels": {"c~d": "3", "e": None, "f": "web"}}


def test_operations_come_in_order_and_the_whole_object_is_a_place_too() -> None:
    assert json_patched(POD, [op("replace", "", value={"a": [1]}), op("add", "/a/-", value=2)]) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (op("remove", "/spec/nodeName"), "(remove /spec/nodeName): there is no /spec/nodeName"),
        (op("replace", "/spec/nodeName", value="a"), "there is no /spec/nodeName"),
        (op("add", "/spec/volumes/-", value={}), "there is no /spec/volumes"),
        (op("add", "/metadata/name/x", value=1), "/metadata/name is neither a map nor a list"),
        (op("add", f"{ARGS}/3", value="-y"), f"{ARGS} has 2 elements, and no 3"),
        (op("replace", f"{ARGS}/2", value="-y"), f"{ARGS} has 2 elements, and no 2"),
        (op("remove", f"{ARGS}/-"), f"{ARGS} is a list: '-' is no number of an element"),
        (op("remove", f"{ARGS}/01"), "'01' is no number of an element"),
        (op("move", f"{ARGS}/0/a", **{"from": f"{ARGS}/0"}), "nothing can be moved into itself"),
        (op("copy", "/spec/a", **{"from": "/spec/b"}), "there is no /spec/b"),
        (op("test", f"{ARGS}/0", value="-w"), "there is '-v', not '-w'"),
        (op("test", "/metadata/labels", value={}), "not {}"),
    ],
)
def test_what_can_not_be_done_is_told_by_its_number(operation: dict[str, Any], said: str) -> None:
    with pytest.raises(NotPatched) as caught:
        json_patched(POD, [op("test", "/metadata/name", value="web"), operation])

    assert str(caught.value).startswith("json[1] (")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("there", "wanted", "is_equal"), [(1, 1.0, True), (1, True, False), ([{"a": 1}], [{"a": 1}], True)]
)
def test_equality_is_that_of_json(there: Any, wanted: Any, is_equal: bool) -> None:
    patch = [op("test", "/a", value=wanted)]
    if is_equal:
        assert json_patched({"a": there}, patch) == {"a": there}
    else:
        with pytest.raises(NotPatched):
            json_patched({"a": there}, patch)

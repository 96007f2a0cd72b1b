"""Files of Kubernetes objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.yaml import InvalidDocument, Manifest, load_manifests, parse_manifests

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"


def wrong(text: str) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        parse_manifests(text, "m.yaml")
    return [problem.headline for problem in caught.value.problems]


def test_documents_are_objects_each_with_its_line() -> None:
    text = f"# a comment\n---\n{POD}---\n---\n{POD.replace('a}', 'b}')}"

    assert parse_manifests(text, "m.yaml") == [
        Manifest({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}, "m.yaml", 3),
        Manifest({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}}, "m.yaml", 8),
    ]


def test_lists_are_taken_apart() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n"

    assert [str(manifest) for manifest in parse_manifests(text, "m.yaml")] == ["Pod/a (m.yaml:4)", "Pod/b (m.yaml:5)"]


def test_a_list_of_null_has_no_objects() -> None:
    text = f"apiVersion: v1\nkind: List\nitems: null\n---\n{POD}"

    assert [str(manifest) for manifest in parse_manifests(text, "m.yaml")] == ["Pod/a (m.yaml:5)"]


def test_json_is_read_as_json_also_with_tabs() -> None:
    text = '{\n\t"apiVersion": "v1",\n\t"kind": "Pod",\n\t"metadata": {"name": "a", "annotations": {"x": "0644"}}\n}\n'

    (manifest,) = parse_manifests(text, "m.json")

    assert manifest.object["metadata"]["annotations"] == {"x": "0644"}


def test_modes_and_annotations_mean_what_they_mean_to_kubectl() -> None:
    text = f"{POD}spec: {{defaultMode: 0644, hostNetwork: on}}\ndata: {{date: 2026-11-22, time: 12:30}}\n"

    (manifest,) = parse_manifests(text, "m.yaml")

    assert manifest.object["spec"] == {"defaultMode": 420, "hostNetwork": True}
    assert manifest.object["data"] == {"date": "2026-11-22", "time": "12:30"}


def test_everything_that_is_no_object_is_said_at_once() -> None:
    text = "kind: Pod\nmetadata: {}\n---\njust text\n---\napiVersion: v1\nkind: 5\nmetadata: {generateName: a-}\n"

    assert wrong(text) == [
        "m.yaml:1:1: apiVersion: an object needs apiVersion",
        "m.yaml:2:1: metadata.name: an object needs metadata.name",
        "m.yaml:4:1: not a Kubernetes object, but a text",
        "m.yaml:7:7: kind: an object needs kind",
    ]


def test_the_problems_of_several_files_come_together(tmp_path: Path) -> None:
    good, bad, odd = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "odd.yaml"
    good.write_text(POD)
    bad.write_text("kind: [Pod\n")
    odd.write_bytes(b"a: \xff\n")

    with pytest.raises(InvalidDocument) as caught:
        load_manifests([good, bad, odd, tmp_path / "missing.yaml"], shown=["good", "bad", "odd", "missing"])

    assert [problem.headline for problem in caught.value.problems] == [
        "bad:2:1: not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        "odd:1:1: not UTF-8: invalid start byte at byte 3",
        "missing:1:1: can't be read: No such file or directory",
    ]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + POD.encode())

    assert [manifest.object["kind"] for manifest in load_manifests([path])] == ["Pod"]

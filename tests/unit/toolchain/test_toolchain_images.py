"""The image store: content-addressed, by reference, safe for several at once."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from koalesce.errors import ProvisionError
from koalesce.toolchain.images import OCI_LAYER, OCI_MANIFEST, ImageStore
from koalesce.toolchain.layers import Entry, of_tree, with_folders, write_layer
from koalesce.toolchain.machine import architecture
from tests.unit.toolchain.images_data import digest


def stored(store: ImageStore, ref: str, text: str = "content") -> str:
    layer = store.add_bytes(text.encode(), OCI_LAYER)
    return store.add_image(ref, [layer], {"Entrypoint": ["/x"]})


def test_an_image_is_found_by_any_form_of_its_reference(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)

    assert stored(store, "busybox") == "docker.io/library/busybox:latest"

    assert store.has("busybox")
    assert store.has("docker.io/library/busybox:latest")
    assert not store.has("busybox:1")
    kind, content, found = store.manifest("busybox") or ("", b"", "")
    assert kind == OCI_MANIFEST
    assert digest(content) == found
    assert store.manifest(found) == (kind, content, found)
    assert store.has(f"busybox@{found}")
    assert not store.has(f"other@{found}")


def test_a_manifest_and_its_parts_are_blobs(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    stored(store, "x", "the layer")

    _, content, _ = store.manifest("x") or ("", b"", "")
    manifest = json.loads(content)
    layer = store.blob(manifest["layers"][0]["digest"])
    config = store.blob(manifest["config"]["digest"])

    assert layer is not None
    assert layer.read_bytes() == b"the layer"
    assert config is not None
    assert json.loads(config.read_bytes()) == {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(b"the layer")]},
    }


def test_an_image_that_lost_a_blob_is_not_there(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    stored(store, "x", "lost")
    path = store.blob(digest(b"lost"))
    assert path is not None

    path.unlink()

    assert not store.has("x")


@pytest.mark.parametrize("name", ["sha256:../../etc/passwd", "sha256:", "index.json", "md5:00"])
def test_a_blob_is_asked_for_by_digest_only(tmp_path: Path, name: str) -> None:
    store = ImageStore(tmp_path)
    stored(store, "x")

    assert store.blob(name) is None


def test_an_unfinished_blob_leaves_nothing(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)

    with store.writing() as writer:
        writer.write(b"half")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_removing_an_image_keeps_what_others_share(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    shared = store.add_bytes(b"shared", OCI_LAYER)
    own = store.add_bytes(b"own", OCI_LAYER)
    store.add_image("one", [shared], {})
    store.add_image("two", [shared, own], {})

    assert store.remove("two")
    assert not store.remove("two")

    assert store.has("one")
    assert store.blob(shared.digest) is not None
    assert store.blob(own.digest) is None


def test_sweep_removes_what_a_killed_writer_left_and_old_blobs_that_nothing_needs(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    stored(store, "x", "needed")
    lost = store.add_bytes(b"lost", OCI_LAYER)
    fresh = store.add_bytes(b"fresh", OCI_LAYER)
    long_ago = time.time() - 30 * 86400
    for name in (lost.digest, digest(b"needed")):
        path = store.blob(name)
        assert path is not None
        os.utime(path, (long_ago, long_ago))
    (tmp_path / "blobs" / ".writing-dead").write_bytes(b"half")

    with store.writing() as writer:
        writer.write(b"in use")
        store.sweep()
        alive = writer.commit(OCI_LAYER)

    assert store.has("x")
    assert store.blob(lost.digest) is None
    assert store.blob(fresh.digest) is not None
    assert store.blob(alive.digest) is not None
    assert not (tmp_path / "blobs" / ".writing-dead").exists()


def test_processes_that_tag_at_once_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys; from koalesce.toolchain.images import *\n"
        "store = ImageStore(pathlib.Path(sys.argv[1]))\n"
        "for n in range(10): store.add_image(f'image-{sys.argv[2]}-{n}', [store.add_bytes(b'x', OCI_LAYER)], {})\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(number)]) for number in range(3)]

    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert len(ImageStore(tmp_path).images()) == 30


def test_a_damaged_index_is_said(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    stored(store, "x")
    (tmp_path / "index.json").write_text("{")

    with pytest.raises(ProvisionError, match=r"index\.json is damaged"):
        store.has("x")


def test_layers_of_equal_trees_are_equal(tmp_path: Path) -> None:
    layers = []
    for name in ("one", "two"):
        root = tmp_path / name
        (root / "b").mkdir(parents=True)
        (root / "b" / "file").write_text("x")
        (root / "b" / "file").chmod(0o755)
        os.link(root / "b" / "file", root / "b" / "hard")
        (root / "a").symlink_to("b/file")
        os.utime(root / "b" / "file", (len(layers) * 1000, 5))
        stream = io.BytesIO()
        write_layer(of_tree(root), stream)
        layers.append(stream.getvalue())

    assert layers[0] == layers[1]
    with tarfile.open(fileobj=io.BytesIO(layers[0])) as archive:
        facts = [(member.name, member.type, member.linkname, member.mode, member.uid) for member in archive]
    assert facts == [
        ("a", tarfile.SYMTYPE, "b/file", 0o777, 0),
        ("b", tarfile.DIRTYPE, "", 0o755, 0),
        ("b/file", tarfile.REGTYPE, "", 0o755, 0),
        ("b/hard", tarfile.LNKTYPE, "b/file", 0o755, 0),
    ]


def test_a_layer_holds_no_sockets(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(ValueError, match="files, folders and links only"):
        write_layer(of_tree(tmp_path), io.BytesIO())


def test_folders_come_before_what_lies_in_them() -> None:
    entries = [
        Entry(name="usr/bin/x", kind=tarfile.REGTYPE, mode=0o755),
        Entry(name="etc/x", kind=tarfile.REGTYPE, mode=0o644),
    ]

    assert [entry.name for entry in with_folders(entries)] == ["etc", "etc/x", "usr", "usr/bin", "usr/bin/x"]

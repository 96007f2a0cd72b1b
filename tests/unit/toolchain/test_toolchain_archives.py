"""Archives of images: what other programs write is read, what is broken is said."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from koalesce.errors import ProvisionError
from koalesce.toolchain.archives import BadArchive
from koalesce.toolchain.export import export
from koalesce.toolchain.images import OCI_LAYER, ImageStore
from tests.unit.toolchain.images_data import Image, digest, docker_save, folder, index, layer, layout, tar


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def test_reads_docker_save(store: ImageStore, tmp_path: Path) -> None:
    one, two = layer("one"), layer("two")
    path = tar(tmp_path / "a.tar", docker_save(["example/a:1", "example/a:2"], one, two))

    assert store.add_archive(path) == ["docker.io/example/a:1", "docker.io/example/a:2"]

    _, content, _ = store.manifest("example/a:1") or ("", b"", "")
    assert [entry["digest"] for entry in json.loads(content)["layers"]] == [digest(one), digest(two)]
    assert store.manifest("example/a:1") == store.manifest("example/a:2")


@pytest.mark.parametrize("packing", ["w", "w:gz", "w:xz"])
def test_reads_an_oci_layout_in_a_tar_file(store: ImageStore, tmp_path: Path, packing: str) -> None:
    image = Image()
    path = tar(tmp_path / "a.tar", layout(image, "quay.io/a/b:1"), packing)

    assert store.add_archive(path) == ["quay.io/a/b:1"]

    assert store.manifest("quay.io/a/b:1") == (
        json.loads(image.manifest)["mediaType"],
        image.manifest,
        digest(image.manifest),
    )
    assert store.has("quay.io/a/b:1")


def test_reads_an_oci_layout_in_a_folder_under_a_given_name(store: ImageStore, tmp_path: Path) -> None:
    path = folder(tmp_path / "layout", layout(Image(), None))

    assert store.add_archive(path, "mine:1") == ["docker.io/library/mine:1"]
    assert store.has("mine:1")


def test_takes_this_machines_part_of_an_index(store: ImageStore, tmp_path: Path) -> None:
    from koalesce.toolchain.machine import architecture

    mine, other = Image("mine"), Image("other", arch="mips")
    top = index((other, "mips"), (mine, architecture()))
    files = layout(mine, None)
    files[f"blobs/sha256/{digest(top)[7:]}"] = top
    entry = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest(top), "size": len(top)}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()

    store.add_archive(tar(tmp_path / "a.tar", files), "both:1")

    assert store.has("both:1")
    assert (store.manifest("both:1") or ("", b"", ""))[1] == top
    assert store.blob(digest(mine.layer)) is not None


def test_what_is_exported_can_be_read_again(store: ImageStore, tmp_path: Path) -> None:
    content = layer()
    ref = store.add_image("made:1", [store.add_bytes(content, OCI_LAYER)], {"Cmd": ["x"]})

    export(store, ref, tmp_path / "a.tar")
    again = ImageStore(tmp_path / "again")

    assert again.add_archive(tmp_path / "a.tar") == [ref]
    assert again.manifest(ref) == store.manifest(ref)
    assert [path.name for path in tmp_path.glob(".a.tar*")] == []


def test_an_unknown_image_is_not_exported(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=r"docker\.io/library/nope:latest is not in the image store"):
        export(store, "nope", tmp_path / "a.tar")


def test_an_archive_without_a_name_needs_one(store: ImageStore, tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", docker_save(None, layer()))

    with pytest.raises(BadArchive, match="its image has no name; say which it shall have"):
        store.add_archive(path)
    assert store.add_archive(path, "a") == ["docker.io/library/a:latest"]


def test_of_several_images_the_named_one_is_taken(store: ImageStore, tmp_path: Path) -> None:
    one, two = docker_save(["one:1"], layer("one")), docker_save(["two:1"], layer("two"))
    files = {f"{number}-{name}": content for number, part in enumerate((one, two)) for name, content in part.items()}
    entries = []
    for number, part in enumerate((one, two)):
        entry = json.loads(part["manifest.json"])[0]
        entry["Config"] = f"{number}-{entry['Config']}"
        entry["Layers"] = [f"{number}-{name}" for name in entry["Layers"]]
        entries.append(entry)
    files["manifest.json"] = json.dumps(entries).encode()
    path = tar(tmp_path / "a.tar", files)

    assert store.add_archive(path, "two:1") == ["docker.io/library/two:1"]
    assert not store.has("one:1")
    with pytest.raises(BadArchive, match=r"holds several images, and none of them is docker\.io/library/three:latest"):
        store.add_archive(path, "three")


def test_an_image_for_another_platform_is_refused(store: ImageStore, tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", docker_save(["a"], layer(), arch="mips"))

    with pytest.raises(BadArchive, match="for linux/mips, not for this machine"):
        store.add_archive(path)


def test_a_layer_that_is_not_what_the_configuration_says_is_refused(store: ImageStore, tmp_path: Path) -> None:
    files = docker_save(["a"], layer())
    files["0/layer.tar"] = layer("other")

    with pytest.raises(BadArchive, match=r"is damaged: 0/layer\.tar"):
        store.add_archive(tar(tmp_path / "a.tar", files))
    assert not store.has("a")


def test_a_blob_with_another_digest_is_refused(store: ImageStore, tmp_path: Path) -> None:
    image = Image()
    files = layout(image, "a:1")
    files[f"blobs/sha256/{digest(image.layer)[7:]}"] = b"something else"

    with pytest.raises(BadArchive, match="doesn't have the digest that its name says"):
        store.add_archive(tar(tmp_path / "a.tar", files))
    assert not store.has("a:1")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("packing", ["w", "w:gz"])
def test_a_truncated_archive_is_refused(store: ImageStore, tmp_path: Path, share: float, packing: str) -> None:
    path = tar(tmp_path / "a.tar", layout(Image("x" * 20000), "a:1"), packing)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content.rstrip(b"\0")) * share)])

    with pytest.raises(BadArchive):
        store.add_archive(path)
    assert not store.has("a:1")


def test_a_missing_blob_is_named(store: ImageStore, tmp_path: Path) -> None:
    image = Image()
    files = layout(image, "a:1")
    del files[f"blobs/sha256/{digest(image.layer)[7:]}"]

    with pytest.raises(BadArchive, match=f"is incomplete: blobs/sha256/{digest(image.layer)[7:]} is missing"):
        store.add_archive(tar(tmp_path / "a.tar", files))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no archive at all", "is no tar archive, or is truncated"),
        (gzip.compress(b"nothing", mtime=0), "is no tar archive, or is truncated"),
        (b"\x28\xb5\x2f\xfd" + b"0" * 20, "is packed with zstd; unpack it first"),
    ],
)
def test_what_is_no_archive_is_said(store: ImageStore, tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.tar").write_bytes(content)

    with pytest.raises(BadArchive, match=why) as caught:
        store.add_archive(tmp_path / "a.tar")

    assert "\n" not in caught.value.message


def test_a_missing_archive_is_said(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="can't be read: No such file"):
        store.add_archive(tmp_path / "none.tar")


def test_a_tar_of_something_else_is_said(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="neither a `docker save` archive nor an OCI layout"):
        store.add_archive(tar(tmp_path / "a.tar", {"hello": b"x"}))


def test_a_layout_does_not_read_outside_of_itself(store: ImageStore, tmp_path: Path) -> None:
    image = Image()
    path = folder(tmp_path / "layout", layout(image, "a:1"))
    secret = tmp_path / "secret"
    secret.write_bytes(image.layer)
    blob = path / f"blobs/sha256/{digest(image.layer)[7:]}"
    blob.unlink()
    blob.symlink_to(secret)

    with pytest.raises(BadArchive, match="is missing"):
        store.add_archive(path)

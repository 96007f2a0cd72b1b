"""Reads archives of images into the store: `docker save`, and OCI layouts as a tar file or a folder.

Blobs are checked against their digests; layers stay as they are, packed or not, since containerd unpacks gzip and zstd itself.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from koalesce.errors import ProvisionError
from koalesce.toolchain.blobs import Descriptor
from koalesce.toolchain.images import INDEXES, OCI_CONFIG, OCI_LAYER, ImageStore, is_for_this_machine
from koalesce.toolchain.machine import architecture
from koalesce.toolchain.reference import Reference

_CONTAINERD_NAME = "io.containerd.image.name"
_OCI_NAME = "org.opencontainers.image.ref.name"
_LAYER_TYPES = {
    b"\x1f\x8b": "application/vnd.oci.image.layer.v1.tar+gzip",
    b"\x28\xb5": "application/vnd.oci.image.layer.v1.tar+zstd",
}
_JSON_LIMIT = 8 << 20


class BadArchive(ProvisionError):
    """An archive of images can't be read; says what is wrong with it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path}: {why}", hint="make it with `docker save`, `skopeo copy … oci-archive:` or `koalesce image build`"
        )


class _Files(Protocol):
    """The files of an archive, by their path in it."""

    def open(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """A file's contents; KeyError if there is none."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""


def add_archive(store: ImageStore, path: Path, ref: str | None = None) -> list[str]:
    """Add an archive's images to the store and return their references; see `ImageStore.add_archive`."""
    with _files(path) as files, _unreadable(path):
        if files.has("index.json"):
            images = _from_layout(store, files, path)
        elif files.has("manifest.json"):
            images = _from_docker(store, files, path)
        else:
            raise BadArchive(
                path, "neither a `docker save` archive nor an OCI layout (no manifest.json, no index.json)"
            )
        return [store.tag(name, found, source=f"archive {path.name}") for name, found in _named(images, ref, path)]


def _named(images: list[tuple[str | None, Descriptor]], ref: str | None, path: Path) -> list[tuple[str, Descriptor]]:
    """The images with the names that they shall have."""
    if ref is None:
        named = [(name, found) for name, found in images if name is not None]
        if not named:
            raise BadArchive(path, "its image has no name; say which it shall have (REF=ARCHIVE)")
        return named
    wanted = str(Reference.parse(ref))
    if len({found.digest for _, found in images}) > 1:
        images = [(name, found) for name, found in images if name is not None and str(Reference.parse(name)) == wanted]
    if not images:
        raise BadArchive(path, f"holds several images, and none of them is {wanted}")
    return [(wanted, images[0][1])]


def _from_layout(store: ImageStore, files: _Files, path: Path) -> list[tuple[str | None, Descriptor]]:
    index = _load(files, "index.json", path)
    found: list[tuple[str | None, Descriptor]] = []
    for entry in index.get("manifests", []):
        if not is_for_this_machine(entry):
            continue
        descriptor = _descriptor(entry, path)
        if not _take(store, files, descriptor, path):
            raise BadArchive(path, f"has no image for linux/{architecture()}")
        found.append((_name(entry.get("annotations") or {}), descriptor))
    if not found:
        raise BadArchive(path, f"has no image for linux/{architecture()}")
    return found


def _take(store: ImageStore, files: _Files, descriptor: Descriptor, path: Path) -> bool:
    """Copy a manifest and its blobs, or an index and this platform's part of it; False if nothing fits this platform."""
    content = _copy(store, files, descriptor, path)
    document = json.loads(content)
    if descriptor.media_type in INDEXES or "manifests" in document:
        parts = [_descriptor(entry, path) for entry in document.get("manifests", []) if is_for_this_machine(entry)]
        taken = [_take(store, files, part, path) for part in parts if files.has(_blob(part.digest))]
        return any(taken)
    for entry in (document["config"], *document["layers"]):
        _copy_blob(store, files, _descriptor(entry, path), path)
    return True


def _copy(store: ImageStore, files: _Files, descriptor: Descriptor, path: Path) -> bytes:
    """Copy a manifest or index, and return it."""
    _copy_blob(store, files, descriptor, path)
    stored = store.blob(descriptor.digest)
    assert stored is not None  # noqa: S101 - just copied
    return stored.read_bytes()


def _copy_blob(store: ImageStore, files: _Files, descriptor: Descriptor, path: Path) -> None:
    if store.blob(descriptor.digest) is not None:
        return
    name = _blob(descriptor.digest)
    if not files.has(name):
        raise BadArchive(path, f"is incomplete: {name} is missing")
    with files.open(name) as source, store.writing() as writer:
        writer.copy(source)
        if writer.digest != descriptor.digest:
            raise BadArchive(path, f"is damaged: {name} doesn't have the digest that its name says")
        writer.commit(descriptor.media_type)


def _from_docker(store: ImageStore, files: _Files, path: Path) -> list[tuple[str | None, Descriptor]]:
    found: list[tuple[str | None, Descriptor]] = []
    for entry in _load(files, "manifest.json", path):
        descriptor = _docker_image(store, files, entry, path)
        names: list[str | None] = list(entry.get("RepoTags") or [None])
        found += [(name, descriptor) for name in names]
    if not found:
        raise BadArchive(path, "holds no image")
    return found


def _docker_image(store: ImageStore, files: _Files, entry: dict[str, Any], path: Path) -> Descriptor:
    """Make the manifest that `docker save` leaves out; each layer is checked against the image's configuration."""
    with files.open(entry["Config"]) as source:
        content = source.read(_JSON_LIMIT)
    document = json.loads(content)
    if (document.get("os"), document.get("architecture")) != ("linux", architecture()):
        raise BadArchive(
            path, f"its image is for {document.get('os')}/{document.get('architecture')}, not for this machine"
        )
    diff_ids = document["rootfs"]["diff_ids"]
    if len(diff_ids) != len(entry["Layers"]):
        raise BadArchive(path, "is damaged: its layers aren't those of its configuration")
    layers = []
    for name, diff_id in zip(entry["Layers"], diff_ids, strict=True):
        with files.open(name) as source, store.writing() as writer:
            head = source.read(2)
            writer.write(head)
            writer.copy(source)
            packed = _LAYER_TYPES.get(head)
            if packed is None and writer.digest != diff_id:
                raise BadArchive(path, f"is damaged: {name} isn't the layer that its configuration says")
            layers.append(writer.commit(packed or OCI_LAYER))
    return store.add_manifest(store.add_bytes(content, OCI_CONFIG), layers)


def _name(annotations: dict[str, str]) -> str | None:
    """The image's name: containerd's annotation has it whole, OCI's often only the tag."""
    name = annotations.get(_CONTAINERD_NAME) or annotations.get(_OCI_NAME)
    return name if name and ("/" in name or ":" in name) else None


def _descriptor(entry: dict[str, Any], path: Path) -> Descriptor:
    digest = str(entry.get("digest", ""))
    if not digest.startswith("sha256:"):
        raise BadArchive(path, f"uses digests of a kind that isn't supported: {digest.partition(':')[0]}")
    return Descriptor(media_type=entry["mediaType"], digest=digest, size=entry["size"])


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _load(files: _Files, name: str, path: Path) -> Any:
    with files.open(name) as source:
        content = source.read(_JSON_LIMIT)
    try:
        return json.loads(content)
    except ValueError as error:
        raise BadArchive(path, f"is damaged: {name} is no JSON") from error


@contextlib.contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """Turn what broken archives make the readers raise into BadArchive."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BadArchive(path, f"is truncated or damaged: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadArchive(path, f"is damaged: {error!r}") from error


@contextlib.contextmanager
def _files(path: Path) -> Iterator[_Files]:
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        with path.open("rb") as file:
            if file.read(4) == b"\x28\xb5\x2f\xfd":
                raise BadArchive(path, "is packed with zstd; unpack it first: zstd -d")
        with tarfile.open(path, "r:*") as archive:
            yield _Tar(archive)
    except OSError as error:
        if error.filename != str(path):
            raise
        raise BadArchive(path, f"can't be read: {error.strerror}") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BadArchive(path, "is no tar archive, or is truncated") from error


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def has(self, name: str) -> bool:
        path = (self._root / name).resolve()
        return path.is_file() and path.is_relative_to(self._root)

    def open(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        if not self.has(name):
            raise KeyError(name)
        return (self._root / name).open("rb")


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members = {str(PurePosixPath(member.name)): member for member in archive}

    def has(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        file = self._archive.extractfile(self._members[name])
        if file is None:
            raise KeyError(name)
        return file

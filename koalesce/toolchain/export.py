"""Writes an image of the store to an archive that `docker load`, `ctr images import` and Koalesce can read."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from koalesce.errors import ProvisionError
from koalesce.toolchain.blobs import Descriptor
from koalesce.toolchain.images import INDEXES, OCI_INDEX, ImageStore, is_for_this_machine
from koalesce.toolchain.reference import Reference


def export(store: ImageStore, ref: str, path: Path) -> None:
    """Write an image to a tar file, an OCI layout with Docker's manifest.json; the file appears whole or not at all."""
    export_all(store, (ref,), path)


def export_all(store: ImageStore, refs: Iterable[str], path: Path) -> None:
    """Write several images to one tar file; what they share is in it once."""
    entries, docker = [], []
    blobs: dict[str, None] = {}  # in the order in which they come up
    for ref in refs:
        found = store.find(ref)
        if found is None:
            raise ProvisionError(f"{store.normalize(ref)} is not in the image store", hint="koalesce image list")
        manifest = _manifest(store, found.descriptor)
        document = _document(store, manifest.digest)
        config, layers = document["config"]["digest"], [layer["digest"] for layer in document["layers"]]
        blobs |= dict.fromkeys((manifest.digest, config, *layers))
        entries.append(_entry(found.ref, manifest))
        docker.append({"Config": _place(config), "RepoTags": [found.ref], "Layers": list(map(_place, layers))})
    files: Mapping[str, Any] = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries},
        "manifest.json": docker,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
            for name, content in files.items():
                _add(archive, name, json.dumps(content, sort_keys=True).encode())
            for digest in blobs:
                _add_blob(archive, store, digest)
        temporary.replace(path)
    except OSError as error:
        raise ProvisionError(f"{path} can't be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _manifest(store: ImageStore, descriptor: Descriptor) -> Descriptor:
    """The manifest of an image for this machine."""
    if descriptor.media_type not in INDEXES:
        return descriptor
    for entry in _document(store, descriptor.digest)["manifests"]:
        if is_for_this_machine(entry):
            return Descriptor(media_type=entry["mediaType"], digest=entry["digest"], size=entry["size"])
    raise ProvisionError(f"{descriptor.digest} has no variant for this machine")


def _entry(ref: str, manifest: Descriptor) -> Mapping[str, Any]:
    """An image in the index of a layout."""
    tag = Reference.parse(ref).tag or ""
    names = {"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": tag}
    return {**manifest.document(), "annotations": names}


def _document(store: ImageStore, digest: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_blob(store, digest).read_bytes())
    return document


def _blob(store: ImageStore, digest: str) -> Path:
    path = store.blob(digest)
    if path is None:
        raise ProvisionError(f"the image store lacks {digest}", hint="remove the image, and make or fetch it again")
    return path


def _place(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


def _add_blob(archive: tarfile.TarFile, store: ImageStore, digest: str) -> None:
    path = _blob(store, digest)
    member = tarfile.TarInfo(_place(digest))
    member.mode, member.size = 0o644, path.stat().st_size
    with path.open("rb") as file:
        archive.addfile(member, file)

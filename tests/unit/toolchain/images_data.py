"""Images and archives for the tests, written by hand as other programs write them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koalesce.toolchain.machine import architecture

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer(name: str = "hello", text: str = "world") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


def config(*layers: bytes, arch: str | None = None) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest(content) for content in layers]}
    return json.dumps({"os": "linux", "architecture": arch or architecture(), "config": {}, "rootfs": rootfs}).encode()


def described(content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content), **more}


class Image:
    """An image with one layer, gzipped as registries have it."""

    def __init__(self, text: str = "world", arch: str | None = None) -> None:
        self.plain = layer(text=text)
        self.layer = gzip.compress(self.plain, mtime=0)
        self.config = config(self.plain, arch=arch)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(self.config, CONFIG),
            "layers": [described(self.layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
        }
        self.manifest = json.dumps(document).encode()

    @property
    def blobs(self) -> dict[str, bytes]:
        return {digest(content): content for content in (self.config, self.layer, self.manifest)}


def index(*parts: tuple[Image, str]) -> bytes:
    entries = [
        described(image.manifest, MANIFEST, platform={"os": "linux", "architecture": arch}) for image, arch in parts
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


def layout(image: Image, name: str | None) -> dict[str, bytes]:
    """The files of an OCI layout."""
    annotations = {"org.opencontainers.image.ref.name": name} if name else {}
    top = {"schemaVersion": 2, "manifests": [described(image.manifest, MANIFEST, annotations=annotations)]}
    blobs = {f"blobs/sha256/{key[7:]}": content for key, content in image.blobs.items()}
    return {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(top).encode(), **blobs}


def docker_save(tags: list[str] | None, *layers: bytes, arch: str | None = None) -> dict[str, bytes]:
    """The files of what `docker save` wrote before it knew OCI layouts."""
    document = config(*layers, arch=arch)
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": tags, "Layers": names}]
    return {
        "config.json": document,
        **dict(zip(names, layers, strict=True)),
        "manifest.json": json.dumps(manifest).encode(),
    }


def tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # the mode is one of tarfile's
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path

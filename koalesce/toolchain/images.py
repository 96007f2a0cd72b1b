"""The image store: one per machine, content-addressed, laid out as the OCI image layout says.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md: blobs by digest, and `index.json` with the references.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from koalesce.errors import ProvisionError
from koalesce.process import Cancel
from koalesce.records import dataclass
from koalesce.toolchain.blobs import BlobWriter, Descriptor
from koalesce.toolchain.machine import architecture
from koalesce.toolchain.network import Network
from koalesce.toolchain.reference import Reference, is_digest
from koalesce.toolchain.shelf import locked, storage_errors

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEXES = (OCI_INDEX, DOCKER_INDEX)
_REFERENCE = "org.opencontainers.image.ref.name"
_SOURCE = "dev.koalesce.source"
_WRITING = ".writing-"
_KEPT_UNUSED = 7 * 86400.0


class ImageUnavailable(ProvisionError):
    """An image can't be had; says why, and the ways to supply it."""

    def __init__(self, ref: str, why: str) -> None:
        super().__init__(
            f"image {ref} can't be had: {why}",
            hint=f"supply it with --image {ref}=ARCHIVE (from `docker save` or an OCI layout), with an entry below "
            "`cluster.images` of the spec, or make it with `koalesce image build FILE`",
        )
        self.ref = ref


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image in the store: its reference, what it points to, and where it came from."""

    ref: str
    descriptor: Descriptor
    source: str


class ImageStore:
    """Images by reference, safe to use from several threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._network = Network()

    @staticmethod
    def normalize(ref: str) -> str:
        """The complete form of a reference: `busybox` → `docker.io/library/busybox:latest`."""
        return str(Reference.parse(ref))

    def has(self, ref: str) -> bool:
        """Whether the image is in the store, with all that this machine needs of it."""
        found = self.find(ref)
        return found is not None and self._is_whole(found.descriptor.digest)

    def images(self) -> list[StoredImage]:
        """All images, by reference."""
        found = []
        for entry in self._entries():
            annotations = entry.get("annotations", {})
            descriptor = Descriptor(media_type=entry["mediaType"], digest=entry["digest"], size=entry["size"])
            found.append(
                StoredImage(ref=annotations[_REFERENCE], descriptor=descriptor, source=annotations.get(_SOURCE, ""))
            )
        return sorted(found, key=lambda image: image.ref)

    def find(self, ref: str) -> StoredImage | None:
        """The image of a reference; a digest in the reference wins over its tag."""
        reference = Reference.parse(ref)
        for image in self.images():
            known = Reference.parse(image.ref)
            if reference.digest is not None:
                if image.descriptor.digest == reference.digest and known.name == reference.name:
                    return image
            elif str(known) == str(reference):
                return image
        return None

    def manifest(self, ref_or_digest: str) -> tuple[str, bytes, str] | None:
        """Media type, bytes and digest of a manifest or index, by reference or by digest alone; None if it isn't there."""
        if is_digest(ref_or_digest):
            digest = ref_or_digest
        elif image := self.find(ref_or_digest):
            digest = image.descriptor.digest
        else:
            return None
        path = self.blob(digest)
        if path is None:
            return None
        content = path.read_bytes()
        return _media_type(content), content, digest

    def blob(self, digest: str) -> Path | None:
        """The file of a blob, or None."""
        if not is_digest(digest):
            return None
        path = self._blobs / digest.removeprefix("sha256:")
        return path if path.is_file() else None

    def blob_size(self, digest: str) -> int | None:
        """Size of a blob in bytes, or None."""
        path = self.blob(digest)
        return None if path is None else path.stat().st_size

    @contextlib.contextmanager
    def writing(self) -> Iterator[BlobWriter]:
        """A writer for one blob; it is published under its digest by `commit`, else nothing of it stays."""
        with storage_errors(self.root):
            self._blobs.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._blobs.parent, prefix=_WRITING, delete=False) as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # tells `sweep` that somebody is at it
                writer = BlobWriter(file, self._blobs)
                try:
                    yield writer
                finally:
                    Path(file.name).unlink(missing_ok=True)

    def add_bytes(self, content: bytes, media_type: str) -> Descriptor:
        """Store a small blob."""
        with self.writing() as writer:
            writer.write(content)
            return writer.commit(media_type)

    def tag(self, ref: str, descriptor: Descriptor, *, source: str = "") -> str:
        """Point a reference to a manifest or index whose blobs are in the store; returns the complete reference."""
        complete = str(Reference.parse(ref))
        annotations = {_REFERENCE: complete, **({_SOURCE: source} if source else {})}
        with self._changing() as entries:
            entries[:] = [entry for entry in entries if entry["annotations"][_REFERENCE] != complete]
            entries.append({**descriptor.document(), "annotations": annotations})
        return complete

    def remove(self, ref: str) -> bool:
        """Forget a reference, and what nothing else needs of it; False if it wasn't there."""
        complete = str(Reference.parse(ref))
        with self._changing() as entries:
            gone = [entry for entry in entries if entry["annotations"][_REFERENCE] == complete]
            entries[:] = [entry for entry in entries if entry not in gone]
            kept = {digest for entry in entries for digest in self._reachable(entry["digest"])}
            for entry in gone:
                for digest in set(self._reachable(entry["digest"])) - kept:
                    (self._blobs / digest.removeprefix("sha256:")).unlink(missing_ok=True)
        return bool(gone)

    def sweep(self) -> None:
        """Remove what interrupted writers left, and blobs that no image has needed for a week.

        What another process is writing stays, as does an image that was replaced a while ago: a cluster may still run it.
        """
        for left in self._blobs.parent.glob(f"{_WRITING}*"):
            with contextlib.suppress(OSError), left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink(missing_ok=True)
        oldest = time.time() - _KEPT_UNUSED
        old = [path for path in self._blobs.glob("*") if path.stat().st_mtime < oldest]
        if old:
            with self._changing() as entries:
                needed = {digest for entry in entries for digest in self._reachable(entry["digest"])}
                for path in old:
                    if f"sha256:{path.name}" not in needed:
                        path.unlink(missing_ok=True)

    def add_image(self, ref: str, layers: list[Descriptor], config: Mapping[str, Any], *, source: str = "") -> str:
        """Make an image of uncompressed layers that are in the store; `config` is the OCI `config` object (Entrypoint, Env, …)."""
        document = {
            "architecture": architecture(),
            "os": "linux",
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
        stored = self.add_bytes(_json(document), OCI_CONFIG)
        return self.tag(ref, self.add_manifest(stored, layers), source=source)

    def add_manifest(self, config: Descriptor, layers: list[Descriptor]) -> Descriptor:
        """Store the OCI manifest of a config and layers."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.document(),
            "layers": [layer.document() for layer in layers],
        }
        return self.add_bytes(_json(manifest), OCI_MANIFEST)

    def add_archive(self, path: Path, ref: str | None = None) -> list[str]:
        """Add the images of a `docker save` archive or an OCI layout (tar or folder); returns their references.

        With `ref`, the archive's one image gets that name.
        """
        from koalesce.toolchain.archives import add_archive

        return add_archive(self, path, ref)

    def pull(self, ref: str, progress: Callable[[str], None] = lambda _: None, cancel: Cancel | None = None) -> str:
        """Fetch an image from its registry, for this platform only; raises ImageUnavailable within seconds."""
        from koalesce.toolchain.registry import pull

        return pull(self, ref, self._network, progress=progress, cancel=cancel)

    def _reachable(self, digest: str) -> Iterator[str]:
        """The digest and those of all blobs below it."""
        yield digest
        if path := self.blob(digest):
            document = json.loads(path.read_bytes())
            for entry in document.get("manifests", []):
                yield from self._reachable(entry["digest"])
            for entry in (*filter(None, [document.get("config")]), *document.get("layers", [])):
                yield entry["digest"]

    def _is_whole(self, digest: str) -> bool:
        path = self.blob(digest)
        if path is None:
            return False
        document = json.loads(path.read_bytes())
        if "manifests" in document:
            return any(self._is_whole(entry["digest"]) for entry in document["manifests"] if is_for_this_machine(entry))
        return all(self.blob(entry["digest"]) for entry in (document["config"], *document["layers"]))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[dict[str, Any]]]:
        with storage_errors(self.root), locked(self.root / "index.lock"):
            entries = self._entries()
            yield entries
            self._write("oci-layout", {"imageLayoutVersion": "1.0.0"})
            self._write("index.json", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})

    def _entries(self) -> list[dict[str, Any]]:
        try:
            entries: list[dict[str, Any]] = json.loads((self.root / "index.json").read_bytes())["manifests"]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError) as error:
            raise ProvisionError(
                f"{self.root}/index.json is damaged", hint=f"remove {self.root}; images are made or fetched again"
            ) from error
        return entries

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        temporary = self.root / f".{name}.{os.getpid()}"
        with temporary.open("wb") as file:
            file.write(_json(document))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.root / name)


def is_for_this_machine(entry: Mapping[str, Any]) -> bool:
    """Whether an index's entry is for this machine; one that names no platform may be."""
    platform = entry.get("platform")
    return platform is None or (platform.get("os"), platform.get("architecture")) == ("linux", architecture())


def _media_type(content: bytes) -> str:
    document = json.loads(content)
    if kind := document.get("mediaType"):
        return str(kind)
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

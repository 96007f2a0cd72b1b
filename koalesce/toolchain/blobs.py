"""Blobs: what an image is made of, each named by the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO, Any

from koalesce.records import dataclass

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Points to a blob: media type, digest, size in bytes."""

    media_type: str
    digest: str
    size: int

    def document(self) -> dict[str, Any]:
        """As it stands in manifests and indexes."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class BlobWriter:
    """Takes the bytes of one blob, then publishes them under their digest."""

    def __init__(self, file: Any, blobs: Path) -> None:
        self._file: IO[bytes] = file
        self._path = Path(file.name)
        self._blobs = blobs
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Append to the blob."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def copy(self, source: IO[bytes]) -> None:
        """Append all that is left of a file."""
        while data := source.read(_CHUNK):
            self.write(data)

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def commit(self, media_type: str) -> Descriptor:
        """Publish the blob, on disk for good."""
        self._file.flush()
        os.fsync(self._file.fileno())
        target = self._blobs / self._hash.hexdigest()
        self._path.chmod(0o644)
        self._path.replace(target)
        return Descriptor(media_type=media_type, digest=self.digest, size=self.size)

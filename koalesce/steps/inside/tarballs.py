"""Files and folders as tar archives on disk: packed from the project, unpacked into the run's own folder."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from koalesce.errors import ClusterError, UsageError
from koalesce.records import dataclass
from koalesce.steps.base import Files

_BLOCK = 1 << 20
_PRIVATE = 0o700


@dataclass(frozen=True, slots=True)
class Copied:
    """One file of a copy: its path below what was copied (empty: it's the whole), size, SHA-256 and mode."""

    path: str
    size: int
    sha256: str
    mode: int

    def to_value(self) -> dict[str, Any]:
        """What outputs read."""
        return {"path": self.path, "size": self.size, "sha256": self.sha256, "mode": f"{self.mode:04o}"}


def pack(source: Path, name: str, archive: BinaryIO, files: Files) -> list[Copied]:
    """Write a file or a folder under a name into an archive, links followed within the project; what it has, in order."""
    packed: list[Copied] = []
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, below in _walk(source, files):
            entry = tarfile.TarInfo("/".join(part for part in (name, below) if part))
            status = path.stat()
            entry.mode, entry.mtime = status.st_mode & 0o777, int(status.st_mtime)
            if path.is_dir():
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
                continue
            entry.size = status.st_size
            with path.open("rb") as content:
                tar.addfile(entry, content)
            packed.append(Copied(below, entry.size, _sha256(path), entry.mode))
    return packed


def unpack(archive: BinaryIO, target: Path) -> tuple[list[Copied], list[str]]:
    """Put what an archive has (one file, or one folder, whatever its name) at a path; the files, and what was left out.

    Only files and folders are taken, nothing lands outside of the target.
    """
    unpacked: list[Copied] = []
    left_out: list[str] = []
    try:
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            for entry in tar:
                below = PurePosixPath(*PurePosixPath(entry.name).parts[1:])
                if ".." in below.parts or below.is_absolute():
                    raise ClusterError(f"the archive has a path that leads out of it: {entry.name}")
                where = target / below
                if entry.isdir():
                    make_private_folder(where)
                elif entry.isreg() and (content := tar.extractfile(entry)) is not None:
                    make_private_folder(where.parent)
                    digest = _write(content, where, entry.mode & 0o777)
                    unpacked.append(
                        Copied("" if below == PurePosixPath() else str(below), entry.size, digest, entry.mode & 0o777)
                    )
                else:
                    left_out.append(str(below))
    except tarfile.TarError as error:
        raise ClusterError(f"what came is no whole archive: {error}") from error
    return unpacked, left_out


def make_private_folder(folder: Path) -> None:
    """Make a folder and those above it that aren't there, for their owner's eyes only."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode=_PRIVATE, exist_ok=True)


def _walk(source: Path, files: Files) -> Iterator[tuple[Path, str]]:
    """What is copied: each path as it is on disk, and where it is below the source; no folder twice, so that links end."""
    seen: set[Path] = set()

    def visit(path: Path, below: str) -> Iterator[tuple[Path, str]]:
        real = files.confined(str(path)).resolve()
        if not (real.is_dir() or real.is_file()):
            raise UsageError(f"{path.name}: is neither a file nor a folder")
        yield real, below
        if real.is_dir():
            if real in seen:
                raise UsageError(f"{path.name}: a link leads back to a folder above it")
            seen.add(real)
            for child in sorted(path.iterdir()):
                yield from visit(child, f"{below}/{child.name}" if below else child.name)
            seen.discard(real)

    yield from visit(source, "")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(content: Any, where: Path, mode: int) -> str:
    digest = hashlib.sha256()
    with where.open("wb") as file:
        while block := content.read(_BLOCK):
            digest.update(block)
            file.write(block)
    where.chmod(mode | 0o600)
    return digest.hexdigest()

"""Layers of images: uncompressed tar files of a tree, the same bytes each time for the same tree."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol, cast


class Sink(Protocol):
    """Takes bytes, in order."""

    def write(self, data: bytes) -> object:
        """Append."""


def write_layer(root: Path, file: Sink) -> None:
    """Write a tree as a layer: sorted, owned by root, dated 1970, so that equal trees have equal digests."""
    linked: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=cast(IO[bytes], file), mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for path in _walk(root):
            status = path.lstat()
            member = _member(path, path.relative_to(root).as_posix(), status, linked)
            if member.isreg():
                with path.open("rb") as source:
                    archive.addfile(member, source)
            else:
                archive.addfile(member)


def _walk(root: Path) -> Iterator[Path]:
    """All entries below a folder, parents first, in one order on every machine."""
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        path = Path(entry.path)
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)


def _member(path: Path, name: str, status: os.stat_result, linked: dict[tuple[int, int], str]) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(status.st_mode)
    inode = (status.st_dev, status.st_ino)
    if stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, str(path.readlink())
    elif status.st_nlink > 1 and inode in linked:
        member.type, member.linkname = tarfile.LNKTYPE, linked[inode]
    elif stat.S_ISREG(status.st_mode):
        member.size = status.st_size
        linked[inode] = name
    else:
        raise ValueError(f"{path}: a layer holds files, folders and links only")
    return member

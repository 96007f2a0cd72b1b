"""Layers of images: uncompressed tar files, the same bytes each time for the same contents."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from koalesce.records import dataclass


class Sink(Protocol):
    """Takes bytes, in order."""

    def write(self, data: bytes) -> object:
        """Append."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something in a layer, owned by root and dated 1970: what it is says `kind`, one of tarfile's types.

    A file's contents are those of the file `source`, else `content`; a link's target is `target`.
    """

    name: str
    kind: bytes
    mode: int
    source: Path | None = None
    content: bytes = b""
    target: str = ""


def write_layer(entries: Iterable[Entry], sink: Sink) -> None:
    """Write a layer; the order of the entries is that of the layer."""
    stream = cast(IO[bytes], sink)  # in this mode, tarfile only writes
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for entry in entries:
            member = tarfile.TarInfo(entry.name)
            member.type, member.mode, member.linkname = entry.kind, entry.mode, entry.target
            if entry.kind != tarfile.REGTYPE:
                archive.addfile(member)
            elif entry.source is not None:
                with entry.source.open("rb") as file:
                    member.size = os.fstat(file.fileno()).st_size
                    archive.addfile(member, file)
            else:
                member.size = len(entry.content)
                archive.addfile(member, io.BytesIO(entry.content))


def of_tree(root: Path) -> Iterator[Entry]:
    """All that is below a folder, sorted; raises ValueError for devices and sockets."""
    linked: dict[tuple[int, int], str] = {}
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        inode = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            yield Entry(name=name, kind=tarfile.DIRTYPE, mode=mode)
        elif stat.S_ISLNK(status.st_mode):
            yield Entry(name=name, kind=tarfile.SYMTYPE, mode=0o777, target=str(path.readlink()))
        elif not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path}: a layer holds files, folders and links only")
        elif status.st_nlink > 1 and inode in linked:
            yield Entry(name=name, kind=tarfile.LNKTYPE, mode=mode, target=linked[inode])
        else:
            linked[inode] = name
            yield Entry(name=name, kind=tarfile.REGTYPE, mode=mode, source=path)


def with_folders(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, sorted, with the folders that they lie in before them."""
    named = {entry.name: entry for entry in entries}
    for name in list(named):
        for parent in PurePosixPath(name).parents:
            if parent != PurePosixPath("."):
                named.setdefault(str(parent), Entry(name=str(parent), kind=tarfile.DIRTYPE, mode=0o755))
    return [named[name] for name in sorted(named, key=lambda name: PurePosixPath(name).parts)]


def _walk(root: Path) -> Iterator[Path]:
    """All entries below a folder, parents first, in one order on every machine."""
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        path = Path(entry.path)
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)

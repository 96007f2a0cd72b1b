"""What a spec reads beside itself, and what was in it then: what a result that is used again depends on."""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, assert_never

from koalesce.records import dataclass

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
_MOST_FILES = 20_000  # of one folder
_MOST_BYTES = 4 << 30
_GONE = "gone"
Kind = Literal["file", "listing", "glob", "program"]


class TooMuch(Exception):
    """A folder has more in it than anybody wants to read for the sake of time."""


@dataclass(frozen=True, slots=True, order=True)
class Input:
    """Something that is read.

    A file, or a folder with all that is in it (`file`); the names of a folder's manifests (`listing`), or of the files below a folder that a
    `pattern` matches (`glob`); a program of this machine, which is told by size and time (`program`).
    """

    kind: Kind
    name: str
    pattern: str = ""

    def digest(self) -> str:
        """Changes with what it holds; also where it isn't there. TooMuch for more than can be read."""
        try:
            match self.kind:
                case "file":
                    return _hash(_contents(Path(self.name)))
                case "listing":
                    return _hash(name.encode() for name in manifests_in(Path(self.name)))
                case "glob":
                    return _hash(name.encode() for name in globbed(Path(self.name), self.pattern))
                case "program":
                    return stat_of(Path(self.name))
                case _:
                    assert_never(self.kind)
        except OSError:
            return _GONE


class Inputs:
    """What a spec has read until now. Safe to use from several threads.

    Once it is watched, what is noted is told by its contents then; `changed` says what has other ones by now. `beyond` has the
    reasons for which nobody can tell whether a later run would find the same.
    """

    def __init__(self) -> None:
        self._digests: dict[Input, str | None] = {}
        self._is_watched = False
        self._lock = threading.Lock()
        self.beyond: list[str] = []

    @property
    def seen(self) -> list[Input]:
        """All of it, in order."""
        with self._lock:
            return sorted(self._digests)

    def note(self, found: Input) -> None:
        """The spec reads this."""
        with self._lock:
            if found not in self._digests:
                self._digests[found] = self._digest(found) if self._is_watched else None

    def note_beyond(self, reason: str) -> None:
        """The spec looks at something that can't be told later."""
        with self._lock:
            self.beyond.append(reason)

    def watch(self) -> None:
        """Remember what is in all of it from now on."""
        with self._lock:
            self._is_watched = True
            for found, digest in self._digests.items():
                self._digests[found] = digest or self._digest(found)

    def changed(self) -> Input | None:
        """Something that isn't as it was when it was read."""
        with self._lock:
            known = dict(self._digests)
        return next((found for found, digest in known.items() if self._digest(found) != digest), None)

    def _digest(self, found: Input) -> str:
        try:
            return found.digest()
        except TooMuch as error:
            self.beyond.append(str(error))
            return _GONE


def manifests_in(folder: Path) -> list[str]:
    """The names of a folder's manifests."""
    return sorted(entry.name for entry in folder.iterdir() if entry.suffix in MANIFEST_SUFFIXES and entry.is_file())


def globbed(folder: Path, pattern: str) -> list[str]:
    """The names, relative to a folder, of the files that a pattern matches."""
    found = sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207 - a pattern may begin with ..
    return [name for name in found if (folder / name).is_file()]


def stat_of(path: Path) -> str:
    """What tells a large file from another without reading it."""
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {state.st_ino}"


def _contents(path: Path) -> Iterator[bytes]:
    """A file's permissions and contents; of a folder those of all files below it, with their names."""
    if not path.is_dir():
        yield from _of_file(path)
        return
    files = size = 0
    for base, folders, names in os.walk(path, followlinks=True):
        folders.sort()
        for name in sorted(names):
            file = Path(base, name)
            files, size = files + 1, size + file.lstat().st_size
            if files > _MOST_FILES or size > _MOST_BYTES:
                raise TooMuch(f"the folder {path} has too much in it to be looked at for changes")
            yield str(file.relative_to(path)).encode()
            yield from _of_file(file) if file.is_file() else (b"no file",)


def _of_file(path: Path) -> Iterator[bytes]:
    import hashlib

    with path.open("rb") as file:
        yield f"{os.fstat(file.fileno()).st_mode & 0o7777:o}".encode()
        yield hashlib.file_digest(file, "sha256").digest()


def _hash(parts: Iterator[bytes] | list[bytes]) -> str:
    import hashlib  # with OpenSSL, which is slow to load

    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()

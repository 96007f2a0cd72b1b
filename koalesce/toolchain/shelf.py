"""Folders that are made once per key: published whole or not at all, by one process at a time, swept after a crash."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from koalesce.errors import Interrupted, ProvisionError
from koalesce.process import Cancel

_POLL = 0.1


class FullDisk(ProvisionError):
    """There is no room left where Koalesce keeps what it makes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"no space left on the disk that holds {folder}",
            hint="make room, or put the cache elsewhere with KOALESCE_CACHE_DIR",
        )


@contextlib.contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk and a place that can't be written to into errors that say so."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FullDisk(folder) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            hint = "put the cache elsewhere with KOALESCE_CACHE_DIR"
            raise ProvisionError(f"can't write to {error.filename or folder}: {error.strerror}", hint=hint) from error
        raise


class Shelf:
    """A folder of finished folders, one per key such as `etcd/3.6.5/build-0123`.

    A folder is made below `.making/`, synced to disk, and renamed to its place; whoever makes it holds a lock, so that two
    processes never make the same twice, and what a killed one left is removed by the next.
    """

    def __init__(self, root: Path, *, cancel: Cancel | None = None) -> None:
        self.root = root
        self._making = root / ".making"
        self._cancel = cancel

    def path(self, key: str) -> Path:
        """Where the folder of this key lies, or would lie."""
        return self.root / key

    def find(self, key: str) -> Path | None:
        """The finished folder of this key, or None."""
        path = self.path(key)
        return path if path.is_dir() else None

    def make(self, key: str, fill: Callable[[Path], None], *, waiting: Callable[[], None] = lambda: None) -> Path:
        """The folder of this key; `fill` puts its contents into an empty folder if it isn't there yet.

        `waiting` is called once if another process is at it. A full disk raises FullDisk, whatever `fill` raises goes on.
        """
        if found := self.find(key):
            return found
        with storage_errors(self.root), self._lock(key, waiting):
            if found := self.find(key):
                return found
            # A new name each time: what a killed process started may still be writing to its folder.
            self._clear(_flat(key))
            temporary = Path(tempfile.mkdtemp(prefix=f"{_flat(key)}~", dir=self._making))
            temporary.chmod(0o755)
            try:
                fill(temporary)
                _sync(temporary)
                target = self.path(key)
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.rename(target)
                _sync_folder(target.parent)
            finally:
                _remove(temporary)
            return target

    def sweep(self) -> None:
        """Remove what interrupted processes left half made; what another process is making stays."""
        for name in sorted({left.name.partition("~")[0] for left in self._making.glob("*~*")}):
            with contextlib.suppress(BlockingIOError), locked(self._making / f"{name}.lock", block=False):
                self._clear(name)

    def _clear(self, name: str) -> None:
        for left in self._making.glob(f"{name}~*"):
            _remove(left)

    @contextlib.contextmanager
    def _lock(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        with locked(self._making / f"{_flat(key)}.lock", cancel=self._cancel, waiting=waiting):
            yield


@contextlib.contextmanager
def locked(
    path: Path, *, block: bool = True, cancel: Cancel | None = None, waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold an exclusive lock on a file that is made for it.

    Without `block`, raises BlockingIOError if another process holds it; a set `cancel` ends the wait with Interrupted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not block:
                    raise
            if not told:
                waiting()
                told = True
            if cancel is not None and cancel.is_set():
                raise Interrupted
            time.sleep(_POLL)
        yield


def _flat(key: str) -> str:
    return key.replace("/", "@")


def _remove(path: Path) -> None:
    """Remove a tree, also one with folders that nobody may write to (as Go's module cache and packages have them)."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            Path(folder).chmod(0o700)
    shutil.rmtree(path)


def _sync(root: Path) -> None:
    """Write a tree through to the disk, files first, so that a rename never publishes half a file."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                _sync_file(path)
        _sync_folder(Path(folder))


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

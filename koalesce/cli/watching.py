"""What has changed among files, by looking at them now and then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

PAUSE = 0.5  # seconds between two looks
_SHARE = 20  # a look that takes long is made so many times as rarely

Snapshot = Mapping[Path, tuple[int, int, int]]


def snapshot(roots: Iterable[Path], without: Collection[Path] = ()) -> Snapshot:
    """The files that are, or are below, these places, with what changes when they do. Hidden folders are left out, and `without`, resolved."""
    found: dict[Path, tuple[int, int, int]] = {}
    for path in _files(roots):
        if without and path.resolve() in without:
            continue
        try:
            status = path.stat()
        except OSError:  # gone meanwhile, or a link to nowhere
            continue
        found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        if not root.is_dir():
            yield root
            continue
        for folder, names, files in os.walk(root):
            names[:] = [name for name in names if not name.startswith(".") and name != "__pycache__"]
            # Files that begin with a dot are drafts of editors, and of ours.
            yield from (Path(folder, name) for name in files if not name.startswith(".") and not name.endswith("~"))


def changed(before: Snapshot, after: Snapshot) -> list[Path]:
    """Those that are new, gone or another, in order."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def await_change(
    roots: Sequence[Path], before: Snapshot, is_over: Callable[[float], bool], without: Collection[Path] = ()
) -> list[Path]:
    """Wait until something differs from `before`, and then until it stays as it is; empty where `is_over` (which waits) says so."""
    pause, last = PAUSE, before
    while not is_over(pause):
        began = time.monotonic()
        now = snapshot(roots, without)
        pause = max(PAUSE, _SHARE * (time.monotonic() - began))
        if now == last and (found := changed(before, now)):
            return found
        last = now
    return []

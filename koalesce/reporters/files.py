"""Report files: known to be writable before a run, and whole whenever somebody reads them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from koalesce.errors import UsageError


def check_writable(path: Path, *, makes_folders: bool = True) -> None:
    """Make sure that a report can be written to `path` later, in a folder that is made now if it's missing; UsageError says why it can't."""
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "is a folder")
        if (above := _nearest(path.parent)) is not None and not above.is_dir():
            raise NotADirectoryError(None, f"{above} is no folder")
        if makes_folders:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_fifo():  # whoever reads from it would see its end
            with path.open("ab"):
                pass
        if is_replaced(path):
            with tempfile.TemporaryFile(dir=_nearest(path.parent)):
                pass
    except OSError as error:
        raise UsageError(
            f"can't write a report to {path}: {error.strerror or error}",
            hint="give a file in a folder that you may write to",
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see all of it or what was there before; devices, pipes and what is open already are written to directly."""
    if not is_replaced(path):
        with path.open("ab") as file:
            file.write(content)
        return
    target = path.resolve()  # a link stays a link
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(content)
        draft.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def is_open_already(path: Path) -> bool:
    """Whether a path is that of a stream, such as `/dev/stdout`; where that is a file, what others have written to it stays."""
    return str(path).startswith(("/dev/", "/proc/self/fd/"))


def is_replaced(path: Path) -> bool:
    """Whether a file is written as a whole; devices and pipes are only added to."""
    return not is_open_already(path) and (path.is_file() or not path.exists())


def _nearest(folder: Path) -> Path | None:
    """The folder, or the one above it that is there."""
    return next((each for each in (folder, *folder.parents) if each.exists()), None)

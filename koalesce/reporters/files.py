"""Report files: known to be writable before a run, and whole whenever somebody reads them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from koalesce.errors import UsageError


def check_writable(path: Path) -> None:
    """Make sure that a report can be written to `path` later; makes missing folders; UsageError says why it can't."""
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "is a folder")
        if path.parent.exists() and not path.parent.is_dir():
            raise NotADirectoryError(None, f"{path.parent} is no folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open("ab"):
                pass
        if _is_replaced(path):
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        raise UsageError(
            f"can't write a report to {path}: {error.strerror or error}",
            hint="give a file in a folder that you may write to",
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see all of it or what was there before; devices and pipes are written to directly."""
    if not _is_replaced(path):
        path.write_bytes(content)
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


def _is_replaced(path: Path) -> bool:
    return path.is_file() or not path.exists()

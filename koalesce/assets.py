"""Where things lie: the files that ship with Koalesce, and the folders that it keeps for a user."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def asset(*parts: str) -> Path:
    """A file or folder of `terraform/`, `templates/` or `schemas/`, from the wheel or from a checkout."""
    installed = _PACKAGE / "_assets"
    return (installed if installed.is_dir() else _PACKAGE.parent).joinpath(*parts)


def cache_dir() -> Path:
    """The toolchain, images and other things that can be made again: `$KOALESCE_CACHE_DIR`, else below the XDG cache."""
    return _folder("KOALESCE_CACHE_DIR", "XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Ledger and clusters: `$KOALESCE_STATE_DIR`, else below the XDG state folder."""
    return _folder("KOALESCE_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def _folder(own: str, xdg: str, fallback: str) -> Path:
    if value := os.environ.get(own):
        return Path(value).resolve()
    base = os.environ.get(xdg)
    return (Path(base) if base else Path.home() / fallback) / "koalesce"

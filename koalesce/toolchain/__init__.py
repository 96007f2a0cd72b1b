"""Finds or makes the binaries and images that a cluster needs.

The names here are loaded when they are first used: who only reads image references (`validate`) doesn't pay for HTTP.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koalesce.toolchain.images import ImageStore, ImageUnavailable
    from koalesce.toolchain.local_tools import LocalTools
    from koalesce.toolchain.toolchain import Toolchain

__all__ = ["ImageStore", "ImageUnavailable", "LocalTools", "Toolchain"]

_PLACES = {
    "ImageStore": "koalesce.toolchain.images",
    "ImageUnavailable": "koalesce.toolchain.images",
    "LocalTools": "koalesce.toolchain.local_tools",
    "Toolchain": "koalesce.toolchain.toolchain",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)

"""Waiting for what a real cluster comes to, on a machine that may be busy."""

from __future__ import annotations

import time
from collections.abc import Callable

from koalesce.errors import KoalesceError

_LOOK = 0.05


def eventually(holds: Callable[[], object], seconds: float = 240.0) -> None:
    """Wait until it holds; where it can't be found out, it doesn't yet."""
    deadline = time.monotonic() + seconds
    while not _holds(holds):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(_LOOK)


def _holds(condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except KoalesceError:
        return False

"""One status out of many."""

from __future__ import annotations

from collections.abc import Iterable

from koalesce.events import Status


def overall(statuses: Iterable[Status]) -> Status:
    """Failed before error before passed; nothing but skips is skipped."""
    found = set(statuses)
    for status in ("failed", "error", "passed"):
        if status in found:
            return status
    return "skipped"

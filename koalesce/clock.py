"""Time as an argument, so that tests own it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the engine reads time from."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""


# What is said of a certificate, or of a signed request, that isn't valid at this time: by OpenSSL, Go, AWS.
_NOT_NOW = (
    "certificate has expired", "certificate is not yet valid", "expired or is not yet valid", "certificate expired",
    "RequestExpired", "Request has expired", "Signature expired", "Signature not yet current",
)  # fmt: skip


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)


def hint_of_time(said: str, clock: Clock | None = None) -> str:
    """What to do where words of others are about a certificate that isn't valid at this time; empty where they aren't."""
    if not any(words in said for words in _NOT_NOW):
        return ""
    now = (clock or SystemClock()).now()
    return f"is this machine's clock right? It says {now:%Y-%m-%d %H:%M} UTC; `timedatectl set-ntp true` sets it. Otherwise whoever answered has to renew what it shows"

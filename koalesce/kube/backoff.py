"""How long to wait before the next try of a connection."""

from __future__ import annotations

import random

_FIRST = 0.1
_LONGEST = 5.0


class Backoff:
    """Delays that double from 0.1 s to 5 s, each up to a fifth longer or shorter so that many don't come at once."""

    def __init__(self, spread: random.Random | None = None) -> None:
        self._spread = spread or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._delay = _FIRST

    def next(self) -> float:
        """The next delay in seconds."""
        delay, self._delay = self._delay, min(_LONGEST, self._delay * 2)
        return delay * self._spread.uniform(0.8, 1.2)

    def reset(self) -> None:
        """It worked: begin anew."""
        self._delay = _FIRST

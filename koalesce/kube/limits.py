"""How long things may take that watches depend on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All in seconds."""

    silence: float = 80.0
    """A watch from which nothing has come for this long is dead: bookmarks come every minute."""
    pause: float = 5.0
    """The same while a streaming list sends what there is."""
    session: int = 300
    """How long the server is asked to keep a watch open."""
    linger: float = 10.0
    """How long a store that nobody uses is kept."""
    trust: float = 20.0
    """How long a store is believed before it's compared with the API server again."""
    catch_up: float = 2.0
    """How far a store may be behind the API server before its connection is taken for dead."""
    least: float = 1.0
    """What a look on the very deadline is given nevertheless."""

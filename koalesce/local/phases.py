"""How long the parts of a start took, for people and benchmarks."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from koalesce.clock import Clock


class Phases:
    """Records when phases began and how long they lasted; they may overlap."""

    def __init__(self, clock: Clock, tell: Callable[[str], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._begin = clock.monotonic()
        self._lock = threading.Lock()
        self._done: list[dict[str, object]] = []

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens in the block is a phase."""
        start = self._clock.monotonic()
        yield
        end = self._clock.monotonic()
        entry = {"name": name, "start": round(start - self._begin, 3), "seconds": round(end - start, 3)}
        with self._lock:
            self._done.append(entry)
        self._tell(f"{end - self._begin:6.2f}s  {name}")

    def save(self, path: Path) -> None:
        """Write them as a JSON list of {name, start, seconds}, in the order in which they ended."""
        with self._lock:
            path.write_text(json.dumps(self._done, indent=2))

"""How long the parts of a start took, and how much the processors worked meanwhile; for people and benchmarks."""

from __future__ import annotations

import contextlib
import json
import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from koalesce.clock import Clock
from koalesce.local import cgroups
from koalesce.notices import NOTICE


class Phases:
    """Records when phases began and how long they lasted; they may overlap.

    `groups` are the cgroups of the cluster's nodes, once there are any.
    """

    def __init__(self, clock: Clock, tell: Callable[[str], None]) -> None:
        self.groups: Sequence[Path] = ()
        self._clock = clock
        self._tell = tell
        self._begin = clock.monotonic()
        self._lock = threading.Lock()
        self._done: list[dict[str, object]] = []

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens in the block is a phase."""
        start, nodes, own = self._clock.monotonic(), cgroups.cpu_seconds(self.groups), own_cpu_seconds()
        yield
        end = self._clock.monotonic()
        cpu = {"nodes": cgroups.cpu_seconds(self.groups) - nodes, "supervisor": own_cpu_seconds() - own}
        self._note(name, start, end, cpu={whose: round(seconds, 3) for whose, seconds in cpu.items()})
        self._tell(f"{end - self._begin:6.2f}s  {name}")

    def say(self, text: str) -> None:
        """Tell of something that has been noticed meanwhile, and that may get in the way."""
        self._tell(f"{NOTICE}{text}")

    @contextlib.contextmanager
    def beside(self, name: str) -> Iterator[None]:
        """What happens in the block goes on beside the phases, in a thread: nobody is told, and the work of processors isn't told apart."""
        start = self._clock.monotonic()
        yield
        self._note(name, start, self._clock.monotonic(), beside=True)

    def save(self, path: Path) -> None:
        """Write {began, cpu, phases} as JSON: the time of the begin, CPU seconds of nodes and supervisor until now, and the phases.

        A phase is {name, start, seconds, cpu} (or `beside: true` instead of `cpu`), in the order in which they ended.
        """
        began = self._clock.now() - timedelta(seconds=self._clock.monotonic() - self._begin)
        cpu = {"nodes": round(cgroups.cpu_seconds(self.groups), 3), "supervisor": round(own_cpu_seconds(), 3)}
        with self._lock:
            path.write_text(json.dumps({"began": began.isoformat(), "cpu": cpu, "phases": self._done}, indent=2))

    def _note(self, name: str, start: float, end: float, **more: object) -> None:
        entry = {"name": name, "start": round(start - self._begin, 3), "seconds": round(end - start, 3), **more}
        with self._lock:
            self._done.append(entry)


def own_cpu_seconds() -> float:
    """What processors have worked for this process and for its children that have ended."""
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)

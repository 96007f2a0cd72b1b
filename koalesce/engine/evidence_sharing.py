"""What failures share of a cluster is looked at once for all that ask for it at a time: a cluster that many tests fail on has better to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from koalesce.engine.evidence_writer import EvidenceWriter

_PATIENCE = 60.0  # seconds to wait for others, who are bounded themselves


@dataclass(slots=True)
class Found:
    """What the README of evidence is made of, gathered from namespaces."""

    pods: list[Mapping[str, Any]] = field(default_factory=list)
    warnings: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Have what another has found as well."""
        self.pods += other.pods
        self.warnings += other.warnings


class EvidenceSharing:
    """Lets one failure look and the others take what it has found, but never what was looked at before they had failed."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}
        self._lock = threading.Lock()

    def have(self, writer: EvidenceWriter, what: Hashable, look: Callable[[EvidenceWriter], Found]) -> Found:
        """Put into the writer's folder what `look` finds of `what`; equal `what`s are the same thing. Never raises."""
        with self._lock:
            queue = self._queues.setdefault(what, _Queue())
        with queue.lock:
            mine = queue.next is None
            turn = queue.next = queue.next or _Turn(writer.beside())
        if mine:
            queue.take(turn, look)
        elif turn.over.wait(_PATIENCE):
            writer.take_over(turn.writer.folder, turn.writer.written)
        else:
            writer.problems.append("nodes, and namespaces of others: another failure that looks at them did not end")
            return Found()
        writer.problems += turn.writer.problems
        return turn.found


@dataclass(slots=True)
class _Turn:
    """One look, which has not begun as long as others can join it."""

    writer: EvidenceWriter
    over: threading.Event = field(default_factory=threading.Event)
    found: Found = field(default_factory=Found)


@dataclass(slots=True)
class _Queue:
    lock: threading.Lock = field(default_factory=threading.Lock)
    busy: threading.Lock = field(default_factory=threading.Lock)
    next: _Turn | None = None

    def take(self, turn: _Turn, look: Callable[[EvidenceWriter], Found]) -> None:
        with self.busy:
            with self.lock:
                self.next = None
            try:
                turn.found = look(turn.writer)
            finally:
                turn.over.set()

"""Reports that are one document: of a run as far as it is known, written now and then and at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from koalesce.events import AnyEvent
from koalesce.reporters.files import is_replaced, write_whole
from koalesce.reporters.record import RunRecord


class WholeFile(ABC):
    """Collects the run, and writes the report at its end, whatever that end is; of a run that is killed, what `save` wrote last is left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = RunRecord()

    @abstractmethod
    def content(self) -> bytes:
        """The report of what is known so far."""

    def handle(self, event: AnyEvent) -> None:
        """Take the event in."""
        self._record.apply(event)

    def save(self) -> None:
        """Write the file as if the run had ended here, where what comes later can take its place."""
        if is_replaced(self._path):
            self.close()

    def close(self) -> None:
        """Write the file."""
        write_whole(self._path, self.content())

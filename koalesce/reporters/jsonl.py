"""The events themselves as a file, one line of JSON each, and reading them back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from koalesce.errors import UsageError
from koalesce.events import FORMAT, AnyEvent, RunStarted, from_json, to_json
from koalesce.reporters.files import is_open_already
from koalesce.reporters.record import RunRecord


class JsonLines:
    """Writes each event as it comes and flushes it: whatever ends the run, what happened before is in the file."""

    def __init__(self, path: Path) -> None:
        # A lone surrogate (a file name that is no UTF-8) becomes \udcXX, which is how JSON writes it.
        self._file = path.open("a" if is_open_already(path) else "w", encoding="utf-8", errors="backslashreplace")

    def handle(self, event: AnyEvent) -> None:
        """Write the event's line."""
        self._file.write(to_json(event) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_events(path: Path) -> Iterator[AnyEvent]:
    """The events of a file, in order; UsageError names the line that isn't one.

    A last line that was cut off, as a killed run leaves it, is left out. A file of a newer format is refused.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                event = _read(path, number, line)
                if event is None:
                    return
                yield event
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error


def read_run(path: Path) -> RunRecord:
    """The run that a file tells of; UsageError as for its events."""
    record = RunRecord()
    for event in read_events(path):
        record.apply(event)
    return record


def _read(path: Path, number: int, line: str) -> AnyEvent | None:
    try:
        event = from_json(line)
    except ValueError as error:
        if not line.endswith("\n"):
            return None
        raise UsageError(
            f"{path}:{number}: {error}", hint="the file must be one that `koalesce run --events` of this version wrote"
        ) from error
    if isinstance(event, RunStarted) and event.format > FORMAT:
        raise UsageError(
            f"{path}:{number}: events of format {event.format}, but this version reads up to {FORMAT}",
            hint="read it with the version of Koalesce that wrote it, or a newer one",
        )
    return event

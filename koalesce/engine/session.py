"""What all parts of one run share: its id, its time, its way to be ended, its stream of events, its folder."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from koalesce.clock import Clock
from koalesce.engine.attempts import Interrupt
from koalesce.engine.evidence_sharing import EvidenceSharing
from koalesce.engine.masking import Masks
from koalesce.engine.stream import EventStream
from koalesce.engine.waiting import Waiter
from koalesce.events import AnyEvent

RUNS = Path(".koalesce") / "runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSession:
    """One run."""

    run_id: str
    clock: Clock
    interrupt: Interrupt
    stream: EventStream
    folder: Path
    evidence: EvidenceSharing = field(default_factory=EvidenceSharing)
    no_more: threading.Event = field(
        default_factory=threading.Event
    )  # set: no further test begins, those under way go on

    @property
    def cancel(self) -> threading.Event:
        """Set when the run is to end."""
        return self.interrupt.event

    @property
    def masks(self) -> Masks:
        """The secrets that this run knows."""
        return self.stream.masks

    @property
    def waiter(self) -> Waiter:
        """Waits for things of the cluster's own."""
        return Waiter(clock=self.clock, interrupt=self.interrupt)

    def emit(self, event: AnyEvent) -> None:
        """Put an event into the stream."""
        self.stream.emit(event)

    def shown(self, path: Path) -> str:
        """A path as people at this terminal would type it."""
        try:
            return str(path.relative_to(Path.cwd()))
        except ValueError:
            return str(path)


def new_session(root: Path, clock: Clock, cancel: threading.Event) -> RunSession:
    """A session with a fresh id; its folder is made when something is written to it."""
    run_id = f"{clock.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)[:5]}"
    return RunSession(
        run_id=run_id, clock=clock, interrupt=Interrupt(cancel), stream=EventStream(clock), folder=root / RUNS / run_id
    )


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may look into."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)  # noqa: PTH101 - also for a folder that was there


def follow(session: RunSession, work: Callable[[], None]) -> Iterator[AnyEvent]:
    """Do the work in a thread and yield its events to their end; raises what the work raised, after the last event.

    Whoever stops listening early ends the work.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="run") as pool:
        worker = pool.submit(work)
        try:
            yield from session.stream
        finally:
            if not worker.done():
                session.cancel.set()
    worker.result()

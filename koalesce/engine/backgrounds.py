"""What goes on in the background of a test: steps in threads of their own, until their end, their `stop`, or the test's end."""

from __future__ import annotations

import threading
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from koalesce.clock import Clock
from koalesce.cluster import Cluster
from koalesce.engine.attempts import Looked
from koalesce.engine.timeline import Timeline
from koalesce.errors import Interrupted, KoalesceError
from koalesce.process import Cancel
from koalesce.steps.base import Errored, Failed, Outcome, Passed, Running, Stopped
from koalesce.steps.stop import Ended

if TYPE_CHECKING:  # few tests ask again and again
    from koalesce.steps.wire.traffic import Traffic

LONGEST = 24 * 3600.0  # seconds that a background step may run where neither it nor its test says less
_LAST_LOOK = 10.0  # seconds that a last look may take
_GRACE = 15.0  # seconds in which a command must have ended that was told to


class Ongoing(Protocol):
    """Something that goes on in the background."""

    @property
    def title(self) -> str:
        """A few words for reports."""

    @property
    def has_ended(self) -> bool:
        """Whether it has come to its own end."""

    def watch(self, wake: Callable[[], None]) -> None:
        """Call back when it ends."""

    def end(self) -> Ended:
        """End it if it still goes on; how it ended."""


class Work(Protocol):
    """A step as it runs in its own thread."""

    def run(self) -> Looked:
        """All of its attempts; raises Interrupted where it was cancelled, Stopped with what it had until then."""

    def hurry(self) -> bool:
        """Have the next look decide; False if there are no looks to come."""


_T = TypeVar("_T", bound=Ongoing)


class Going:
    """A step in a thread of its own. `cancel` ends the step and nothing else; `cancelled` says that it was done."""

    def __init__(self, title: str, work: Work, *, cancel: Callable[[], None], cancelled: Cancel, clock: Clock) -> None:
        self.title = title
        self._work = work
        self._cancel = cancel
        self._cancelled = cancelled
        self._clock = clock
        self._began = clock.monotonic()
        self._ended: Ended | None = None
        self._over = threading.Event()
        self._watchers: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name=f"background {title}", daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether it has come to its own end."""
        return self._over.is_set()

    def watch(self, wake: Callable[[], None]) -> None:
        """Call back when it ends."""
        self._watchers.append(wake)
        if self.has_ended:
            wake()

    def end(self) -> Ended:
        """Let it have its last look, or cancel it; how it ended."""
        goes_on = not self.has_ended
        if goes_on and self._work.hurry():
            self._over.wait(_LAST_LOOK)
        self._cancel()
        self._thread.join(_GRACE)
        if self._ended is None:
            message = f"did not end within {_GRACE:.0f}s of being told to"
            return self._end_of(Errored(message, final=True))
        return replace(self._ended, stopped=goes_on)

    def _run(self) -> None:
        try:
            self._ended = self._end_of(self._outcome())
        finally:
            self._over.set()
            for wake in self._watchers:
                wake()

    def _outcome(self) -> Outcome:
        try:
            outcome = self._work.run().outcome
        except Stopped as stopped:
            return stopped.outcome
        except Interrupted:
            return Failed("was not done when it was stopped", "done", "under way")
        except KoalesceError as error:
            outcome = Errored(str(error))
        if isinstance(outcome, Errored) and self._cancelled.is_set():  # what it was in the middle of was cancelled
            return Failed("was not done when it was stopped", "done", "under way", detail=outcome.message)
        return outcome

    def _end_of(self, outcome: Outcome) -> Ended:
        return Ended(title=self.title, outcome=outcome, seconds=self._clock.monotonic() - self._began)


class Serving:
    """What a Background step has started: it runs by itself."""

    has_ended = False

    def __init__(self, title: str, running: Running, clock: Clock, *, disturbs: bool = False) -> None:
        self.title = title
        self.disturbs = disturbs
        self._running = running
        self._clock = clock
        self._began = clock.monotonic()

    def watch(self, wake: Callable[[], None]) -> None:
        """It has no end of its own."""

    def end(self) -> Ended:
        """Stop it."""
        try:
            outcome = self._running.stop()
        except KoalesceError as error:
            outcome = Errored(str(error))
        seconds = self._clock.monotonic() - self._began
        return Ended(title=self.title, outcome=outcome, seconds=seconds, stopped=isinstance(outcome, Passed))


class Asking:
    """What is asked again and again until its `stop`."""

    has_ended = False

    def __init__(self, title: str, traffic: Traffic, timeline: Timeline, clock: Clock) -> None:
        self.title = title
        self._traffic, self._timeline, self._clock = traffic, timeline, clock
        self._began = clock.monotonic()

    def watch(self, wake: Callable[[], None]) -> None:
        """It has no end of its own."""

    def end(self) -> Ended:
        """Ask no more; how it went. What couldn't go on asking tells too little: that's an error."""
        report = self._traffic.stop(self._timeline.until(self._clock.monotonic()))
        outcome: Outcome = Passed(report.summary(), report.to_value())
        if report.broken:
            outcome = Errored(report.broken, report.timeline(), final=True)
        seconds = self._clock.monotonic() - self._began
        return Ended(title=self.title, outcome=outcome, seconds=seconds, stopped=True, report=report)


@dataclass(slots=True)
class Backgrounds:
    """All that goes on in one test, by id."""

    _steps: dict[str, Ongoing] = field(default_factory=dict)
    _servers: dict[str, Serving] = field(default_factory=dict)
    _broken_off: list[Ended] = field(default_factory=list)  # of groups
    _count: int = 0
    _disturbed: dict[str, Cluster] = field(default_factory=dict)

    def started(self, name: str, step: Going | Asking) -> None:
        """A `background` step goes on."""
        self._steps[name] = step

    def serving(self, name: str | None, server: Serving) -> None:
        """What a step of another type has started goes on, until the test's end where it has no name."""
        self._servers[name or self._unnamed()] = server

    def adopt(self, group: Backgrounds) -> None:
        """The steps of a group are over: what it has started and not stopped ends, what it serves goes on until the test's end."""
        self._broken_off += group.end_steps()
        for server in group._servers.values():
            self._servers[self._unnamed()] = server
        for cluster in group.disturbed():
            self.disturb(cluster)

    def disturb(self, cluster: Cluster) -> None:
        """Something is taken away from a cluster, which has to be whole again in the end."""
        self._disturbed[cluster.name] = cluster

    def disturbed(self) -> list[Cluster]:
        """The clusters that this happened to, and that haven't been seen to be whole since."""
        return list(self._disturbed.values())

    def end_disturbing(self) -> list[Ended]:
        """End what disturbs a cluster, last first; everything else goes on."""
        self._disturbed.clear()
        names = [name for name, server in self._servers.items() if server.disturbs]
        return _end_all({name: self._servers.pop(name) for name in names})

    def _unnamed(self) -> str:
        self._count += 1
        return f"#{self._count}"

    def find(self, name: str) -> Ongoing | None:
        """What goes on under a name."""
        return self._steps.get(name) or self._servers.get(name)

    def end(self, name: str) -> Ended:
        """End what goes on under a name."""
        ongoing = self._steps.pop(name, None) or self._servers.pop(name)
        return ongoing.end()

    def end_steps(self) -> list[Ended]:
        """End the `background` steps that no `stop` has ended: those of a test that broke off."""
        ended, self._broken_off = [*self._broken_off, *_end_all(self._steps)], []
        return ended

    def end_all(self) -> list[Ended]:
        """End everything, last first."""
        return [*self.end_steps(), *_end_all(self._servers)]


def _end_all(ongoing: MutableMapping[str, _T]) -> list[Ended]:
    ended = []
    while ongoing:
        ended.append(ongoing.popitem()[1].end())
    return ended


def troubles(ended: list[Ended]) -> list[Ended]:
    """Those that had gone wrong by themselves."""
    return [each for each in ended if each.status in ("failed", "error")]

"""Follows a run: takes the engine's events in the main thread, shows them, and lets people stop it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from koalesce.cli.stopping import Stop
from koalesce.clock import Clock
from koalesce.errors import Interrupted, KoalesceError
from koalesce.events import AnyEvent, ClusterReady, PhaseStarted, RunFinished, RunStarted, TeardownFinished
from koalesce.library.pump import Pump
from koalesce.reporters import Reporter, Saving, View

_TICK = 0.25
_PAUSE = 2.0  # seconds at least between two times that reports are saved
_SHARE = 50  # of the time that saving takes: so many times as long a pause follows


class Abandoned(Interrupted):
    """Somebody asked twice to stop: the run is left where it is; says what may be left over.

    `is_left`: something that nobody else removes.
    """

    def __init__(self, message: str, *, is_left: bool = False) -> None:
        super().__init__(message)
        self.is_left = is_left


class Reports:
    """The report files of a run: one that can't be written any more is given up, and remembered in `problems`."""

    def __init__(self, reporters: Mapping[str, Reporter]) -> None:
        self._open = dict(reporters)
        self._has_news = False
        self._due = -math.inf
        self.problems: list[str] = []

    def handle(self, event: AnyEvent) -> None:
        """Hand an event to all of them."""
        self._has_news = True
        self._each(lambda reporter: reporter.handle(event))

    def save(self, clock: Clock) -> None:
        """Write those that are written as a whole, if there is news and it was long enough ago: whoever kills the run leaves them."""
        began = clock.monotonic()
        if not self._has_news or began < self._due:
            return
        self._has_news = False
        for reporter in self._open.values():
            if isinstance(reporter, Saving):
                with contextlib.suppress(OSError):  # the end tells, if it lasts
                    reporter.save()
        ended = clock.monotonic()
        self._due = ended + max(_PAUSE, _SHARE * (ended - began))

    def close(self) -> None:
        """Finish all of them."""
        self._each(lambda reporter: reporter.close())
        self._open.clear()

    def _each(self, act: Callable[[Reporter], None]) -> None:
        for name, reporter in list(self._open.items()):
            try:
                act(reporter)
            except OSError as error:
                del self._open[name]
                if name == "json" and isinstance(error, BrokenPipeError):  # whoever reads it has seen enough
                    continue
                self.problems.append(f"the report of --{name} could not be written: {error.strerror or error}")


def follow(events: Iterator[AnyEvent], view: View, reports: Reports, stop: Stop, clock: Clock) -> RunFinished:
    """Consume a run to its end and return its last event; what the engine raises comes out of here.

    A view that can't be written to any more (a closed pipe) stops the run, with its teardown. A second request to stop raises
    Abandoned.
    """
    source = Pump(events)
    follower = _Follower(source, view, reports, stop, clock)
    try:
        return follower.consume()
    except Abandoned:
        raise
    except BaseException:
        stop.end("an unexpected error")
        follower.drain()
        raise


class _Follower:
    def __init__(self, source: Pump, view: View, reports: Reports, stop: Stop, clock: Clock) -> None:
        self._source = source
        self._view: View | None = view
        self._reports = reports
        self._stop = stop
        self._clock = clock
        self._began = clock.monotonic()
        self._left: dict[str, list[str]] = {}  # by spec: its clusters, as far as they have names yet
        self._shared: ClusterReady | None = None  # the cluster that the run only uses, and that stays
        self._borrowing: set[str] = set()  # specs that use a cluster of an earlier one
        self._run_id = ""
        self._has_announced = False
        self._end: RunFinished | None = None

    def consume(self) -> RunFinished:
        while not self._source.is_over:
            event = self._source.next(_TICK)
            if self._end is None and not isinstance(event, RunFinished):
                self._heed_second_request()
            self._announce_first_request()
            if event is not None:
                self._note(event)
                self._reports.handle(event)
                self._show(lambda view, event=event: view.handle(event))  # type: ignore[misc]  # mypy can't infer the default
            self._show(lambda view: view.tick(self._clock.monotonic() - self._began))
            if self._end is None:
                self._reports.save(self._clock)
        if self._end is None:
            raise KoalesceError("the run ended without a result")
        return self._end

    def drain(self) -> None:
        """Wait for the teardown without showing anything; a second request to stop ends that too."""
        while not self._source.is_over:
            self._heed_second_request()
            with contextlib.suppress(Exception):  # the first error is the one to tell
                event = self._source.next(_TICK)
                if event is not None:
                    self._note(event)

    def _note(self, event: AnyEvent) -> None:
        self._began = self._clock.monotonic() - event.elapsed
        match event:
            case PhaseStarted():
                if event.spec not in self._borrowing:
                    self._left.setdefault(event.spec, [])
            case RunStarted():
                self._run_id = event.run_id
            case ClusterReady(shared=True):
                self._shared = event
            case ClusterReady(reused=True):  # it is told of under the spec that had it made
                self._borrowing.add(event.spec)
                self._left.pop(event.spec, None)
            case ClusterReady():
                self._left.setdefault(event.spec, []).append(event.cluster)
            case TeardownFinished(message=""):
                left = self._left.get(event.spec, [])
                left[:] = [name for name in left if name != event.cluster]
                if not left:
                    self._left.pop(event.spec, None)
            case RunFinished():
                self._end = event
            case _:
                pass

    def _show(self, act: Callable[[View], None]) -> None:
        if self._view is None:
            return
        try:
            act(self._view)
        except OSError as error:
            self._view = None
            self._stop.end("nobody reads the output")
            if not isinstance(error, BrokenPipeError):
                self._reports.problems.append(f"the output could not be written: {error.strerror or error}")

    def _heed_second_request(self) -> None:
        if self._stop.requests > 1:
            raise self._abandoned()

    def _announce_first_request(self) -> None:
        if self._stop.requests and not self._has_announced:
            self._has_announced = True
            clusters = f"leaving cluster {self._shared.cluster} as it is" if self._shared else "destroying its clusters"
            text = f"{self._stop.reason}: ending the run and {clusters}; once more (^C) to leave at once"
            self._show(lambda view: view.say(text))

    def _abandoned(self) -> Abandoned:
        if self._shared:
            return _left_in(self._shared, self._run_id)
        if not self._left:
            return Abandoned("left at once; no cluster was up")
        left = [(spec, name) for spec, names in self._left.items() for name in names]
        downs = [f"  cluster {name} of {spec}: koalesce down {name}" for spec, name in left]
        return Abandoned(
            "\n".join(
                ["left at once, before everything was removed:", *downs, "  whatever else is left: koalesce sweep"]
            )
        )


def _left_in(shared: ClusterReady, run_id: str) -> Abandoned:
    """What the run leaves in a cluster that stays, and how it is removed."""
    from koalesce.engine.leftovers import commands, left_by, look
    from koalesce.kube import Kube

    place, changed = f"cluster {shared.cluster}, which stays", "what tests changed of objects of others isn't put back"
    try:
        left = left_by(Kube(Path(shared.kubeconfig)), run_id)
    except KoalesceError as error:
        told = [f"left at once; what is left in {place}, can't be told: {error.message}; {changed}"]
        return Abandoned("\n".join([*told, f"  see: {look(shared.kubeconfig, run_id)}"]), is_left=True)
    if not left:
        return Abandoned(f"left at once; of what the tests made, nothing is left in {place}; {changed}")
    names = [f"  {each.name} in {each.namespace}" if each.namespace else f"  {each.name}" for each in left]
    removal = [f"  {command}" for command in commands(left, shared.kubeconfig)]
    return Abandoned(
        "\n".join([f"left at once; left in {place} (and {changed}):", *names, "removed by:", *removal]), is_left=True
    )

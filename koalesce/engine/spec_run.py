"""Running one spec: its images, its cluster, its components, its tests, and the end of its cluster whatever happens."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from koalesce.engine.backgrounds import Backgrounds, troubles
from koalesce.engine.case import Stage, run_setup, run_test, skip_test
from koalesce.engine.cleaning import CLEANUP_TIMEOUT, clean_up
from koalesce.engine.components import NotReady
from koalesce.engine.ending import end_all, note_first_states
from koalesce.engine.evidence import all_namespaces, collect_evidence
from koalesce.engine.evidence_index import Failure
from koalesce.engine.evidence_writer import EvidenceWriter
from koalesce.engine.grace import grace
from koalesce.engine.lacking import needs_of
from koalesce.engine.leaks import Leaked, check_leaks
from koalesce.engine.lots import Lot, SharedLots
from koalesce.engine.naming import Names, names_of
from koalesce.engine.needs import Plan
from koalesce.engine.options import RunOptions
from koalesce.engine.provision import absent, passed_on, provision
from koalesce.engine.schedule import run_all
from koalesce.engine.scopes import TestScope
from koalesce.engine.selection import Selected
from koalesce.engine.session import RunSession, make_private
from koalesce.engine.sites import Stay
from koalesce.engine.statuses import overall
from koalesce.engine.stepping import Section, StepRunner
from koalesce.errors import Interrupted, KoalesceError, TeardownError
from koalesce.events import SpecFinished, SpecStarted, Status, TestFinished
from koalesce.providers.session import ClusterSession, ready_event
from koalesce.spec import LoadedSpec
from koalesce.spec.models import Test
from koalesce.steps.sightings import Sightings

if TYPE_CHECKING:
    from koalesce.engine.cached.keeping import Keeper


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecResult:
    """How a spec ended: its own status, and those of its tests."""

    status: Status
    tests: tuple[TestFinished, ...]
    teardown_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A spec among those of its run. `taken` is called once it has its clusters; `names` are its own in the run.

    `keeper` keeps its result for later runs, if anybody does.
    """

    names: Names
    plan: Plan = field(default_factory=Plan)
    shared: SharedLots = field(default_factory=lambda: SharedLots([]))
    taken: Callable[[], None] = lambda: None
    keeper: Keeper | None = None


_BAD: tuple[Status, ...] = ("failed", "error")
_NO_MORE = "not run: an earlier test did not pass (--failfast)"


class SpecRun:
    """One spec in one run."""

    def __init__(
        self, session: RunSession, selected: Selected, options: RunOptions, *, place: Place | None = None
    ) -> None:
        self._place = place or Place(names=names_of([selected.loaded], session.run_id)[0])
        self._run_interrupt = session.interrupt
        self._keeper = self._place.keeper
        stream = session.stream if self._keeper is None else self._keeper.listening(session.stream)
        self._session = dataclasses.replace(session, interrupt=session.interrupt.child(), stream=stream)
        self._selected = selected
        self._loaded: LoadedSpec = selected.loaded
        self._options = options
        self._path = selected.loaded.shown
        self._folder = session.folder / self._place.names.folder
        self._tests: list[TestFinished] = []
        self._lot = Lot(spec=self._path)
        self._ahead: Future[Stage] | None = None
        self._is_clean = False  # its shared cluster is as it found it
        self._stage: Stage | None = None  # once tests may run
        self._evidence = ""
        self._teardown_failed = False
        self._backgrounds = Backgrounds()  # what `setup` has started for all tests
        self._undo_setup: Callable[[], list[str]] = list  # nothing where the cluster goes, or is kept as it is

    def begin(self, pool: ThreadPoolExecutor) -> None:
        """Have its clusters made before its turn; what goes wrong in that is told when it comes."""
        if not self._needless():
            self._ahead = pool.submit(self._make)

    def give_up(self) -> bool:
        """Its turn won't come: end what was begun; whether nothing is left."""
        self._stop_making("the run is over")
        self._run_interrupt.close(self._session.interrupt)
        return end_all(self._session, self._path, self._lot.sessions, keep=False)

    def run(self) -> SpecResult:
        """Everything; says what went wrong in the last event, raises nothing that concerns the user."""
        began = self._session.clock.monotonic()
        timer = self._timer()
        names = tuple(test.name for test, _ in self._selected.tests)
        self._session.emit(SpecStarted(spec=self._path, name=self._loaded.spec.metadata.name, tests=names))
        status: Status = "error"
        images: Mapping[str, str] | str = ""
        try:
            status, message = self._guarded()
            if problem := self._clean_up():
                status, message = worsened(status, message, problem)
            if problems := self._undo_setup():
                status, message = worsened(status, message, f"clean-up of the setup: {'; '.join(problems)}")
            self._backgrounds.end_all()
            if leak := self._leak():
                status, message = worsened(status, message, str(leak), leak.status)
            images = self._images()
        finally:
            timer.cancel()
            self._backgrounds.end_all()
            if self._options.failfast and status in _BAD:
                self._session.no_more.set()
            gone = self._let_go(status)
            self._teardown_failed = self._teardown_failed or not gone
            self._run_interrupt.close(self._session.interrupt)
        uncached = self._keep(images) if status == "passed" else ""
        seconds = round(self._session.clock.monotonic() - began, 4)
        self._session.emit(
            SpecFinished(
                spec=self._path,
                status=status,
                seconds=seconds,
                message=message,
                evidence=self._evidence,
                uncached=uncached,
            )
        )
        return SpecResult(status=status, tests=tuple(self._tests), teardown_failed=self._teardown_failed)

    def _keep(self, images: Mapping[str, str] | str) -> str:
        """It has passed: have its result kept for later runs, if that is wanted; why it isn't."""
        if self._keeper is None:
            return ""
        if self._teardown_failed:
            return "something of it is left over"
        at = self._session.clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")
        return self._keeper.keep(at, self._tests, images)

    def _images(self) -> Mapping[str, str] | str:
        """What images its clusters were given, as long as they are there; or why that isn't known."""
        if self._session.cancel.is_set():
            return "it was interrupted"
        return self._keeper.images(self._lot.sessions) if self._keeper is not None else ""

    def _timer(self) -> threading.Timer:
        """Ends the spec when its time is over."""
        limit = self._options.timeout or self._loaded.spec.timeout
        reason = f"the time of the spec ({limit}) is over"
        timer = threading.Timer(
            limit.seconds if limit else threading.TIMEOUT_MAX, self._session.interrupt.set, (reason,)
        )
        timer.daemon = True
        if limit:
            timer.start()
        return timer

    def _guarded(self) -> tuple[Status, str]:
        try:
            return self._run()
        except NotReady as verdict:
            message = f"{verdict}\n{verdict.outcome.detail}".rstrip()
            return verdict.status, self._abandon(message)
        except Interrupted:
            return "error", self._abandon(self._session.interrupt.reason)
        except KoalesceError as error:
            self._teardown_failed = isinstance(error, TeardownError)
            return "error", self._abandon(str(error))
        except OSError as error:  # a full disk, a file that vanished
            return "error", self._abandon(str(error))

    def _run(self) -> tuple[Status, str]:
        if self._session.cancel.is_set():
            raise Interrupted
        if reason := self._needless():
            self._skip_rest(reason)
            self._stop_making(reason)
            return "skipped", reason
        stage = self._take()
        self._place.taken()
        self._backgrounds = stage.backgrounds
        common = frozenset.intersection(*(site.cluster.capabilities for site in stage.places.values()))
        setup = self._loaded.spec.setup
        taken = [name for name in needs_of(setup.steps) if name not in common]
        if missing := list(dict.fromkeys([*(n for n in self._loaded.spec.requires if n not in common), *taken])):
            reason = f"the cluster lacks {', '.join(missing)}"
            self._skip_rest(reason)
            return "skipped", reason
        self._stage = stage
        if setup.steps:
            done = run_setup(stage, setup)
            self._stage = stage = _with_values(stage, {"setup": done.given})
            if self._options.cluster is not None or self._place.plan.needs or self._is_to_be_left(stage):
                self._undo_setup = done.undo
            if done.finished.status != "passed":
                self._evidence = done.finished.evidence
                self._skip_rest("the spec's setup did not pass")
                return ("failed" if done.finished.status == "failed" else "error"), f"setup: {done.finished.message}"
        self._run_tests(stage)
        return overall(test.status for test in self._tests), ""

    def _needless(self) -> str:
        """Why no cluster is needed, where none of its tests would run."""
        if self._session.no_more.is_set():
            return _NO_MORE
        if self._selected.is_all_skipped:
            return "no cluster was made: every test is skipped"
        return f"no cluster was made: it would lack {', '.join(self._absent)}" if self._absent else ""

    @functools.cached_property
    def _absent(self) -> list[str]:
        return absent(self._loaded, self._options)

    def _stop_making(self, reason: str) -> None:
        """Have what was begun ahead end, and wait until it has."""
        if self._ahead is not None and not self._ahead.cancel():
            self._session.interrupt.set(reason)
            self._ahead.exception()

    def _is_to_be_left(self, stage: Stage) -> bool:
        """Whether its clusters are others', and stay without what the run has made in them."""
        return not self._options.keep and any(site.cluster.is_borrowed for site in stage.places.values())

    def _take(self) -> Stage:
        """Its clusters: of an earlier spec that shares them, made ahead, or made now."""
        needs = self._place.plan.needs
        if needs and (lot := self._place.shared.take(needs)):
            self._lot = lot
            for made in lot.sessions:
                if made.cluster is not None:
                    self._session.emit(ready_event(made.cluster, self._path, 0.0, reused=True))
            return passed_on(lot.there, self._session, self._loaded, self._folder)
        if self._ahead is None or self._ahead.cancel():  # nobody has begun with it
            return self._make()
        return self._ahead.result()

    def _make(self) -> Stage:
        """Make its clusters, or join the one that is up."""
        sessions, plan = self._lot.sessions, self._place.plan
        stage = provision(
            self._session,
            self._loaded,
            self._options,
            name=self._place.names.clusters.__getitem__,
            folder=self._folder,
            opened=sessions.append,
        )
        if self._options.keep or self._options.keep_on_failure or plan.needs:
            note_first_states(sessions, wait=True)
        self._lot.stage = stage
        return stage

    def _leak(self) -> Leaked | None:
        """What it has left in a cluster that it shares, if it may go on to the next spec at all."""
        if not self._place.plan.needs or self._lot.stage is None or self._session.cancel.is_set():
            return None
        try:
            for made in self._lot.sessions:
                if isinstance(made, ClusterSession):
                    check_leaks(self._session, self._path, made)
        except Leaked as leak:
            return leak
        except Interrupted:
            return None
        self._is_clean = True
        return None

    def _let_go(self, status: Status) -> bool:
        """Leave its clusters to a spec to come, or keep or end them; whether nothing is left that shouldn't be."""
        is_kept = status in _BAD and self._options.keep_on_failure and not self._session.cancel.is_set()
        if self._is_clean and not is_kept and self._place.shared.give_back(self._place.plan.needs, self._lot):
            return True
        return end_all(self._session, self._lot.spec, self._lot.sessions, keep=self._options.keep or is_kept)

    def _run_tests(self, stage: Stage) -> None:
        tests = [_Case(test, line) for test, line in self._selected.tests]

        def run(case: _Case) -> TestFinished:
            if self._session.cancel.is_set():
                return skip_test(self._session, self._path, case.test, case.line, "interrupted before it began")
            if reason := self._skipped(case.test):
                return skip_test(self._session, self._path, case.test, case.line, reason)
            finished = run_test(stage, case.test, case.line)
            if self._options.failfast and finished.status in _BAD:
                self._session.no_more.set()
            return finished

        self._tests += run_all(tests, run, parallel=self._options.parallel)

    def _skipped(self, test: Test) -> str:
        """Why a test isn't run although its spec is."""
        return self._selected.skipped.get(test.name) or (_NO_MORE if self._session.no_more.is_set() else "")

    def _clean_up(self) -> str:
        """The spec's own cleanup steps, and the end of what its setup has started; what went wrong in them."""
        stage = self._stage
        if stage is None:
            return ""
        problems: list[str] = []
        with grace(self._session.interrupt) as interrupt:
            scope = TestScope(cancel=interrupt.event)
            namespace = stage.values.get("setup", {}).get("namespace", "default")
            home = next(iter(stage.places))
            stay = Stay(stage.places, home, (), self._session.waiter)
            sightings = Sightings(stage.places[home].noted)
            runner = StepRunner(
                cluster=stage.cluster, namespace=namespace, scope=scope, clock=self._session.clock, interrupt=interrupt,
                files=stage.files, emit=self._session.emit, values={**stage.values, "namespace": namespace, "outputs": {}},
                place=home, enter=stay.enter, sightings=sightings,
            )  # fmt: skip
            section = Section(spec=self._path, test="cleanup", name="cleanup", timeout=CLEANUP_TIMEOUT)
            problems += clean_up(runner, section, self._loaded.spec.cleanup)
            ended = troubles([*runner.backgrounds.end_all(), *stage.backgrounds.end_all()])
            problems += [f"{each.title}: {each.message}" for each in ended]
        if not (self._session.cancel.is_set() and stage.disposable):
            problems += scope.unwind()
        return "; ".join(f"cleanup: {problem}" for problem in problems)

    def _abandon(self, message: str) -> str:
        """Evidence of what kept the tests from running, and a word for each of them."""
        clusters = [session.cluster for session in self._lot.sessions if session.cluster is not None]
        folder = self._folder / "cluster"
        for cluster in clusters if not self._session.cancel.is_set() else ():
            place = folder if len(clusters) == 1 else folder / cluster.name
            writer = EvidenceWriter(folder=place, masks=self._session.masks, cancel=self._session.cancel)
            make_private(self._session.folder)
            failure = Failure(test=self._loaded.spec.metadata.name, message=message)
            collect_evidence(writer, cluster, all_namespaces(cluster), self._session.evidence, failure=failure)
            self._evidence = self._session.shown(folder)
        self._skip_rest(message.splitlines()[0] if message else "")
        return message

    def _skip_rest(self, reason: str) -> None:
        done = {test.test for test in self._tests}
        for test, line in self._selected.tests:
            if test.name not in done:
                why = self._skipped(test) or f"not run: {reason}"
                self._tests.append(skip_test(self._session, self._path, test, line, why))


@dataclass(frozen=True, slots=True)
class _Case:
    test: Test
    line: int

    @property
    def is_alone(self) -> bool:
        return self.test.is_alone

    @property
    def locks(self) -> tuple[str, ...]:
        return self.test.locks


def worsened(status: Status, message: str, problem: str, to: Status = "error") -> tuple[Status, str]:
    """How a spec ended after which something could not be cleaned up."""
    return (to if status in ("passed", "skipped") else status), "\n".join(part for part in (message, problem) if part)


def _with_values(stage: Stage, more: Mapping[str, Any]) -> Stage:
    return dataclasses.replace(stage, values={**stage.values, **more})

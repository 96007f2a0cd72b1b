"""Running one test: its namespace, its steps, what is collected when it fails, and what is undone after it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from koalesce.clock import Clock
from koalesce.cluster import Cluster
from koalesce.durations import Duration
from koalesce.engine.backgrounds import Backgrounds, troubles
from koalesce.engine.cleaning import CLEANUP_TIMEOUT, clean_up
from koalesce.engine.evidence import collect_evidence
from koalesce.engine.evidence_index import Failure
from koalesce.engine.evidence_writer import EvidenceWriter
from koalesce.engine.grace import grace
from koalesce.engine.lacking import needs_of
from koalesce.engine.namespaces import Namespaces, Wanted, labels, namespace_name, wanted
from koalesce.engine.readiness import await_whole
from koalesce.engine.scopes import LAST_LOOK, TestScope
from koalesce.engine.sections import INVARIANT_TIMEOUT, INVARIANTS
from koalesce.engine.session import RunSession, make_private
from koalesce.engine.sites import Site, Stay
from koalesce.engine.statuses import overall
from koalesce.engine.stepping import DEFAULT_TIMEOUT, Section, StepRunner
from koalesce.errors import Interrupted, KoalesceError
from koalesce.events import Status, StepFinished, TestFinished, TestRerun, TestStarted
from koalesce.matching.mismatch import and_more
from koalesce.spec import LoadedSpec
from koalesce.spec.entries import StepEntry
from koalesce.spec.models import Setup, Test
from koalesce.spec.namespaces import NamespaceSpec
from koalesce.steps.base import Files
from koalesce.steps.sightings import Sightings
from koalesce.steps.stop import Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the tests of a spec stand on. `sites` are its clusters by name, the default first; `cluster` is the default one."""

    session: RunSession
    loaded: LoadedSpec
    spec: str
    cluster: Cluster
    files: Files
    folder: Path  # where evidence goes
    values: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = DEFAULT_TIMEOUT
    reruns: int = 0  # of tests that don't say how many
    sites: Mapping[str, Site] = field(default_factory=dict)
    namespaces: Namespaces = field(default_factory=Namespaces)  # of the default cluster
    disposable: bool = True  # the cluster goes away after the run
    noted: dict[Any, Any] = field(default_factory=dict)  # by tests for later ones, on the default cluster
    backgrounds: Backgrounds = field(default_factory=Backgrounds)  # what goes on for the whole spec

    @property
    def places(self) -> Mapping[str, Site]:
        """Its clusters by name, also where there is only the default one."""
        return self.sites or {"": Site(cluster=self.cluster, namespaces=self.namespaces, noted=self.noted)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """A setup that has run: how it ended, what it gives to the tests, and what undoes it and tells what went wrong in that."""

    finished: TestFinished
    given: dict[str, Any]
    undo: Callable[[], list[str]]


def run_setup(stage: Stage, setup: Setup) -> SetUp:
    """Run the spec's setup; whoever keeps the cluster for other specs undoes it after the tests."""
    written = stage.loaded.source.document.value["setup"].get("namespace")
    test = Test.model_construct(
        name="setup", steps=setup.steps, on_failure=setup.on_failure, timeout=setup.timeout, cluster=setup.cluster
    )
    case = _Case(stage, "setup", test, line=setup.steps[0].line, section="setup")
    try:
        case.settle(stage.loaded.namespace(written, case.values, ("setup", "namespace")), {})
        finished = case.run(keep=True)
    except KoalesceError as error:
        finished = case.refused(str(error))
    stage.session.emit(finished)
    given = {"outputs": case.values.get("outputs", {}), "namespace": case.namespace}
    return SetUp(finished=finished, given=given, undo=case.undo)


def run_test(stage: Stage, test: Test, line: int) -> TestFinished:
    """Run a test to its end, its own clean-up included, and again while it fails and may be. Never raises: it says what happened."""
    reruns, seconds = stage.reruns if test.reruns is None else test.reruns, 0.0
    for rerun in range(reruns + 1):
        finished = _try_test(stage, test, line, rerun)
        seconds += finished.seconds
        if finished.status != "failed" or rerun == reruns or stage.session.cancel.is_set():
            break
        stage.session.emit(
            TestRerun(
                spec=stage.spec, test=test.name, rerun=rerun + 1, reruns=reruns, seconds=finished.seconds,
                message=finished.message, line=line, evidence=finished.evidence,
            )
        )  # fmt: skip
    if rerun:
        flaky = finished.status == "passed"
        finished = replace(finished, rerun=rerun, reruns=reruns, flaky=flaky, seconds=round(seconds, 4))
    stage.session.emit(finished)
    return finished


def _try_test(stage: Stage, test: Test, line: int, rerun: int) -> TestFinished:
    """One try of a test, in a fresh namespace; its end isn't told yet."""
    case = _Case(stage, test.name, test, line=line, section="steps", rerun=rerun)
    try:
        case.values["matrix"] = stage.loaded.test_matrix(test)
        case.values["vars"] = stage.loaded.test_variables(test, case.values)
        reason = _skip_reason(stage, test, case.site, case.values)
        case.settle(*stage.loaded.test_namespaces(test, case.values))
    except KoalesceError as error:
        return case.refused(str(error))
    return case.skipped(reason) if reason else case.run()


def skip_test(session: RunSession, spec: str, test: Test, line: int, reason: str) -> TestFinished:
    """Tell of a test that isn't run at all."""
    finished = TestFinished(spec=spec, test=test.name, status="skipped", seconds=0.0, message=reason, line=line)
    session.emit(TestStarted(spec=spec, test=test.name, namespace="", line=line))
    session.emit(finished)
    return finished


def _skip_reason(stage: Stage, test: Test, site: Site, values: Mapping[str, Any]) -> str | None:
    """Why a test is skipped on this cluster; what is known without one (`Selected.skipped`) comes before."""
    if missing := [name for name in test.requires if name not in site.cluster.capabilities]:
        return f"the cluster lacks {', '.join(missing)}"
    if test.disruptive and not site.cluster.may_be_disturbed:
        return "the cluster isn't to be disturbed"
    if missing := _lacking(stage, test, site):
        return f"the cluster lacks {', '.join(missing)}, which its steps take"
    condition = stage.loaded.test_condition(test, values)
    if condition is not None:
        return condition.unmet(version=site.cluster.kubernetes, capabilities=site.cluster.capabilities)
    return None


def _lacking(stage: Stage, test: Test, site: Site) -> list[str]:
    """What the test's steps take, and the invariants after them, and their clusters don't have."""
    steps = (*test.steps, *(stage.loaded.spec.invariants if test.invariants else ()))
    missing = [
        name
        for step in steps
        for name in needs_of([step])
        if name not in stage.places.get(str(step.raw.get("cluster")), site).cluster.capabilities
    ]
    return list(dict.fromkeys(missing))


def summed_up(bad: Sequence[StepFinished | str]) -> tuple[str, Status]:
    """What several steps that didn't pass (or sentences about a failure) say together."""
    said = [each if isinstance(each, str) else _with_title(each) for each in bad]
    status = overall("failed" if isinstance(each, str) else each.status for each in bad)
    first, *rest = said[0].split("\n")
    return "\n".join([first + and_more(len(said) - 1, "problem"), *rest, *said[1:]]), status


def _with_title(step: StepFinished) -> str:
    """What a step says, behind its title unless the message begins with that: often both begin with the object."""
    group, _, own = step.title.rpartition(": ")
    if not re.match(rf"{re.escape(own)}(?=$|[:\s])", step.message):
        return f"{step.title}: {step.message}"
    return f"{group}: {step.message}" if group else step.message


@dataclass(frozen=True, slots=True)
class Limit:
    """The time that a test has for its steps."""

    clock: Clock
    timeout: Duration
    began: float

    def __str__(self) -> str:
        return f"the test's time ({self.timeout}) is over"

    @property
    def deadline(self) -> float:
        """When it's over, in the clock's seconds."""
        return self.began + self.timeout.seconds

    def is_over(self, slack: float = 0.0) -> bool:
        """Whether it's over, by so many seconds."""
        return self.clock.monotonic() >= self.deadline + slack


class _Case:
    """One try of a test under way."""

    def __init__(self, stage: Stage, name: str, test: Test, *, line: int, section: str, rerun: int = 0) -> None:
        self._stage = stage
        self._name = name
        self._test = test
        self._line = line
        self._section = section
        self._rerun = rerun
        self._scope = TestScope(cancel=stage.session.cancel)
        # What `setup` serves is there for all tests: the spec ends it.
        self._backgrounds = stage.backgrounds if section == "setup" else Backgrounds()
        self._failure = Failure(test=name)
        self._healed: list[str] = []  # what went wrong when chaos was ended before the test's end
        self._broken_off: list[Ended] = []  # what the steps had started when they ended
        self._sites = stage.places
        self._home = test.cluster or next(iter(self._sites))
        self.site = self._sites[self._home]
        self._fresh = namespace_name(name)
        self.namespace = self._fresh
        self._stay = self._staying([])
        self.values: dict[str, Any] = {
            **stage.values,
            **self.site.values,
            "namespace": self.namespace,
            "test": {"name": name},
            "outputs": {},
        }

    def settle(self, own: NamespaceSpec, further: Mapping[str, NamespaceSpec]) -> None:
        """Say which namespaces it has."""
        marks = labels(self._stage.session.run_id, self._name)
        home = wanted(own, self._fresh, marks)
        others = {name: wanted(spec, namespace_name(f"{self._name}-{name}"), marks) for name, spec in further.items()}
        self.namespace = self.values["namespace"] = home.name
        self.values["namespaces"] = {name: each.name for name, each in others.items()}
        self._stay = self._staying([home, *others.values()])

    def _staying(self, namespaces: Sequence[Wanted]) -> Stay:
        return Stay(self._sites, self._home, namespaces, self._stage.session.waiter)

    def skipped(self, reason: str) -> TestFinished:
        """The test is left out."""
        return self._ended("skipped", reason)

    def refused(self, message: str) -> TestFinished:
        """The test can't even begin."""
        return self._ended("error", message)

    def _ended(self, status: Status, message: str) -> TestFinished:
        spec = self._stage.spec
        self._stage.session.emit(
            TestStarted(spec=spec, test=self._name, namespace="", line=self._line, rerun=self._rerun)
        )
        return TestFinished(spec=spec, test=self._name, status=status, seconds=0.0, message=message, line=self._line)

    def run(self, *, keep: bool = False) -> TestFinished:
        """Everything, in order. `keep` leaves the namespace and what was made in it."""
        clock, emit, test = self._stage.session.clock, self._stage.session.emit, self._test
        began = clock.monotonic()
        emit(
            TestStarted(
                spec=self._stage.spec, test=self._name, namespace=self.namespace, line=self._line, rerun=self._rerun
            )
        )
        limit = Limit(clock, test.timeout, began) if test.timeout else None
        evidence, problems = "", []
        try:
            try:
                message, status = self._run_steps(limit)
            finally:
                self._broken_off = self._backgrounds.end_steps()
            message, status = _with_troubles(message, status, self._broken_off)
            message, status = self._with_invariants(message, status)
            if status in ("failed", "error"):
                evidence = self._explain((*test.on_failure, *self._stage.loaded.spec.on_failure))
        except Interrupted:
            status, message = "error", self._stage.session.interrupt.reason
        except KoalesceError as error:
            status, message = "error", str(error)
            self._failure = replace(self._failure, message=message)
            evidence = self._explain(())
        if not keep:
            problems = self.undo()
            self._backgrounds.end_all()
        if problems:
            status = "error" if status in ("passed", "skipped") else status
            message = "\n".join(part for part in (message, f"clean-up: {'; '.join(problems)}") if part)
        return TestFinished(
            spec=self._stage.spec, test=self._name, status=status, seconds=round(clock.monotonic() - began, 4),
            message=message, line=self._line, evidence=evidence,
        )  # fmt: skip

    def _run_steps(self, limit: Limit | None) -> tuple[str, Status]:
        """The steps that didn't pass decide, the first of them ending the test unless it goes on; all skipped is skipped."""
        self._stay.enter()
        bad: list[StepFinished] = []
        skipped: list[str] = []
        runner = self._runner(self._scope)
        steps = self._test.steps
        section = self._of(self._section, deadline=limit.deadline if limit else None)
        for index, entry in enumerate(steps):
            if limit and limit.is_over():
                return summed_up([*bad, f"{limit}, before step {index + 1} ({entry.title})"])
            result = runner.run(section, index, entry)
            if result.status == "skipped":
                skipped.append(result.message)
            elif result.status != "passed":
                bad.append(result)
                if len(bad) == 1:
                    self._failure = replace(self._failure, step=result, looked_at=tuple(runner.looked_at))
                if not entry.raw.get("continueOnFailure"):
                    break
        if bad:
            message, status = summed_up(bad)
            return (f"{message}; {limit}" if limit and limit.is_over() else message), status
        if limit and limit.is_over(LAST_LOOK):
            return summed_up([str(limit)])
        if steps and len(skipped) == len(steps):
            return skipped[0], "skipped"
        return "", "passed"

    def _with_invariants(self, message: str, status: Status) -> tuple[str, Status]:
        """How the steps ended, and what of the spec's invariants doesn't hold after them, once nothing disturbs the cluster any more."""
        invariants = self._stage.loaded.spec.invariants if self._section == "steps" and self._test.invariants else ()
        if not invariants or status not in ("passed", "failed"):
            return message, status
        self._healed += self._heal()
        runner = self._runner(TestScope(cancel=self._stage.session.cancel))
        section = self._of(INVARIANTS, timeout=INVARIANT_TIMEOUT)
        results: list[StepFinished] = []
        for index, entry in enumerate(invariants):
            results.append(runner.run(section, index, entry))
            if results[-1].status in ("failed", "error") and self._failure.step is None:
                self._failure = replace(self._failure, step=results[-1], looked_at=tuple(runner.looked_at))
        bad = [result for result in results if result.status in ("failed", "error")]
        if not bad:
            return message, status
        said, worst = summed_up(bad)
        told = f"after it, {said}"
        return (f"{message}\n{told}", status) if message else (told, worst)

    def _explain(self, on_failure: Sequence[StepEntry]) -> str:
        """Run the author's onFailure steps and collect the evidence; returns the folder."""
        if self._stage.session.cancel.is_set():
            return ""
        make_private(self._stage.session.folder)
        folder = self._folder()
        writer = EvidenceWriter(folder=folder, masks=self._stage.session.masks, cancel=self._stage.session.cancel)
        for number, ended in enumerate(self._broken_off):
            writer.write(f"background/{number}.txt", ended.told())
        runner = self._runner(TestScope(cancel=self._stage.session.cancel))
        for index, entry in enumerate(on_failure):
            result = runner.run(self._of("onFailure", once=True), index, entry)
            text = "\n".join(part for part in (result.message, result.actual or "", result.detail) if part)
            writer.write(f"onFailure/{index}-{entry.key}.txt", text)
        self._backgrounds.end_steps()
        self._healed += self._heal()  # a cluster that is disturbed can't tell much
        own = (self.namespace, *self.values.get("namespaces", {}).values())
        for name, entered in self._stay.entered.items():
            place = writer if len(self._stay.entered) == 1 else replace(writer, folder=folder / name)
            namespaces = self._evidence_namespaces(own)
            sharing = self._stage.session.evidence
            collect_evidence(place, entered.site.cluster, namespaces, sharing, failure=self._failure, own=own)
        return self._stage.session.shown(folder)

    def _evidence_namespaces(self, own: Sequence[str]) -> tuple[str, ...]:
        setup = self.values.get("setup", {}).get("namespace")
        components = {name for item in self.values.get("components", {}).values() for name in item["namespaces"]}
        return tuple(dict.fromkeys([*own, *([setup] if setup else []), *sorted(components), "kube-system"]))

    def undo(self) -> list[str]:
        """The author's clean-up, then whatever the steps have registered, then the namespaces; returns what went wrong.

        Once the run is to end, what goes away with its cluster isn't undone.
        """
        scope = TestScope(cancel=threading.Event())
        if self._stage.session.cancel.is_set() and self._stage.disposable:
            return self._clean_up(scope)
        problems = [*self._healed, *self._heal(), *self._clean_up(scope), *self._heal()]
        problems += [f"{each.title}: {each.message}" for each in troubles(self._backgrounds.end_all())]
        return problems + scope.unwind() + self._scope.unwind() + self._stay.leave()

    def _heal(self) -> list[str]:
        """End what disturbs clusters, and see that they are whole again; returns what went wrong."""
        disturbed = self._backgrounds.disturbed()
        problems = [f"{each.title}: {each.message}" for each in troubles(self._backgrounds.end_disturbing())]
        for cluster in disturbed:
            try:
                await_whole(self._stage.session.waiter, cluster)
            except Interrupted:
                break  # what it was disturbed by has ended all the same
            except KoalesceError as error:
                problems.append(error.message)
        return problems

    def _clean_up(self, scope: TestScope) -> list[str]:
        """The author's cleanup steps, each of them whatever became of the others; returns what went wrong."""
        if not self._test.cleanup or not self._stay.entered:
            return []
        section = self._of("cleanup", timeout=CLEANUP_TIMEOUT)
        with grace(self._stage.session.interrupt) as interrupt:
            runner = replace(self._runner(scope.within(interrupt.event)), interrupt=interrupt)
            return clean_up(runner, section, self._test.cleanup)

    def _folder(self) -> Path:
        """Where everything of this test is kept that outlives it."""
        return self._stage.folder / (self._fresh if self._name != "setup" else "setup")

    def _runner(self, scope: TestScope) -> StepRunner:
        stage = self._stage
        return StepRunner(
            cluster=self.site.cluster, namespace=self.namespace, scope=scope, clock=stage.session.clock,
            interrupt=stage.session.interrupt, files=stage.files, emit=stage.session.emit,
            labels=labels(stage.session.run_id, self._name), values=self.values, place=self._home, enter=self._stay.enter,
            artifacts=self._folder() / "copied", backgrounds=self._backgrounds,
            disruptive=self._test.disruptive or self._section == "setup", sightings=Sightings(self.site.noted),
        )  # fmt: skip

    def _of(
        self, name: str, *, deadline: float | None = None, timeout: float | None = None, once: bool = False
    ) -> Section:
        return Section(
            spec=self._stage.spec,
            test=self._name,
            name=name,
            timeout=timeout or self._stage.timeout,
            deadline=deadline,
            once=once,
        )


def _with_troubles(message: str, status: Status, broken_off: list[Ended]) -> tuple[str, Status]:
    """How the steps ended, with what had gone wrong in the background until then, by itself where they failed."""
    bad = [each for each in troubles(broken_off) if status in ("passed", "skipped") or not each.stopped]
    if not bad:
        return message, status
    said = "; ".join(f"{each.title}: {each.status}: {each.message}" for each in bad)
    if status in ("failed", "error"):
        return f"{message}; in the background, {said}", status
    return f"in the background, {said}", bad[0].status if bad[0].status == "error" else "failed"

"""Running one test: its namespace, its steps, what is collected when it fails, and what is undone after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from koalesce.cluster import Cluster
from koalesce.engine.backgrounds import Backgrounds, troubles
from koalesce.engine.evidence import EvidenceWriter, collect_evidence
from koalesce.engine.evidence_index import Failure
from koalesce.engine.namespaces import labels, make_namespace, namespace_name, remove_namespace
from koalesce.engine.scopes import TestScope
from koalesce.engine.session import RunSession, make_private
from koalesce.engine.stepping import DEFAULT_TIMEOUT, Section, StepRunner
from koalesce.errors import Interrupted, KoalesceError
from koalesce.events import Status, StepFinished, TestFinished, TestStarted
from koalesce.spec import LoadedSpec
from koalesce.spec.entries import StepEntry
from koalesce.spec.models import Setup, Test
from koalesce.steps.base import Files
from koalesce.steps.stop import Ended

CLEANUP_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the tests of a spec stand on."""

    session: RunSession
    loaded: LoadedSpec
    spec: str
    cluster: Cluster
    files: Files
    folder: Path  # where evidence goes
    values: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = DEFAULT_TIMEOUT
    disposable: bool = True  # the cluster goes away after the run
    backgrounds: Backgrounds = field(default_factory=Backgrounds)  # what goes on for the whole spec


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """A setup that has run: how it ended, what it gives to the tests, and what undoes it and tells what went wrong in that."""

    finished: TestFinished
    given: dict[str, Any]
    undo: Callable[[], list[str]]


def run_setup(stage: Stage, setup: Setup) -> SetUp:
    """Run the spec's setup; whoever keeps the cluster for other specs undoes it after the tests."""
    case = _Case(
        stage, "setup", Test.model_construct(name="setup", steps=setup.steps), line=setup.steps[0].line, section="setup"
    )
    finished = case.run(
        setup.steps, setup.on_failure, timeout=setup.timeout.seconds if setup.timeout else None, keep=True
    )
    given = {"outputs": case.values.get("outputs", {}), "namespace": case.namespace}
    return SetUp(finished=finished, given=given, undo=case.undo)


def run_test(stage: Stage, test: Test, line: int) -> TestFinished:
    """Run a test to its end, its own clean-up included. Never raises but for Interrupted's sake: it says what happened."""
    case = _Case(stage, test.name, test, line=line, section="steps")
    try:
        reason = _skip_reason(stage, test)
        case.values["vars"] = stage.loaded.test_variables(test, case.values)
    except KoalesceError as error:
        return case.refuse(str(error))
    if reason:
        return case.skip(reason)
    return case.run(test.steps, test.on_failure, timeout=test.timeout.seconds if test.timeout else None)


def skip_test(session: RunSession, spec: str, test: Test, line: int, reason: str) -> TestFinished:
    """Tell of a test that isn't run at all."""
    finished = TestFinished(spec=spec, test=test.name, status="skipped", seconds=0.0, message=reason, line=line)
    session.emit(TestStarted(spec=spec, test=test.name, namespace="", line=line))
    session.emit(finished)
    return finished


def _skip_reason(stage: Stage, test: Test) -> str | None:
    if test.skip:
        return test.skip
    if missing := [name for name in test.requires if name not in stage.cluster.capabilities]:
        return f"the cluster lacks {', '.join(missing)}"
    condition = stage.loaded.test_condition(test, stage.values)
    if condition is not None:
        return condition.unmet(version=stage.cluster.kubernetes, capabilities=stage.cluster.capabilities)
    return None


class _Case:
    """One test under way."""

    def __init__(self, stage: Stage, name: str, test: Test, *, line: int, section: str) -> None:
        self._stage = stage
        self._name = name
        self._test = test
        self._line = line
        self._section = section
        self._scope = TestScope(cancel=stage.session.cancel)
        # What `setup` serves is there for all tests: the spec ends it.
        self._backgrounds = stage.backgrounds if section == "setup" else Backgrounds()
        self._failure = Failure(test=name)
        self._broken_off: list[Ended] = []  # what the steps had started when they ended
        self.namespace = test.namespace.name or namespace_name(name)
        self.values: dict[str, Any] = {
            **stage.values,
            "namespace": self.namespace,
            "test": {"name": name},
            "outputs": {},
        }

    def skip(self, reason: str) -> TestFinished:
        """The test is left out."""
        return skip_test(self._stage.session, self._stage.spec, self._test, self._line, reason)

    def refuse(self, message: str) -> TestFinished:
        """The test can't even begin."""
        stage = self._stage
        stage.session.emit(TestStarted(spec=stage.spec, test=self._name, namespace="", line=self._line))
        finished = TestFinished(
            spec=stage.spec, test=self._name, status="error", seconds=0.0, message=message, line=self._line
        )
        stage.session.emit(finished)
        return finished

    def run(
        self, steps: Sequence[StepEntry], on_failure: Sequence[StepEntry], *, timeout: float | None, keep: bool = False
    ) -> TestFinished:
        """Everything, in order. `keep` leaves the namespace and what was made in it."""
        clock, emit = self._stage.session.clock, self._stage.session.emit
        began = clock.monotonic()
        emit(TestStarted(spec=self._stage.spec, test=self._name, namespace=self.namespace, line=self._line))
        deadline = began + timeout if timeout else None
        evidence, problems = "", []
        try:
            try:
                message, status = self._run_steps(steps, deadline)
            finally:
                self._broken_off = self._backgrounds.end_steps()
            message, status = _with_troubles(message, status, self._broken_off)
            if status in ("failed", "error"):
                evidence = self._explain(on_failure)
        except Interrupted:
            status, message = "error", self._stage.session.interrupt.reason
        except KoalesceError as error:
            status, message = "error", str(error)
            self._failure = replace(self._failure, message=message)
            evidence = self._explain(())
        if not keep:
            problems = self.undo()
            self._backgrounds.end_all()
        if problems and status == "passed":
            status, message = "error", "clean-up: " + "; ".join(problems)
        finished = TestFinished(
            spec=self._stage.spec, test=self._name, status=status, seconds=round(clock.monotonic() - began, 4),
            message=message, line=self._line, evidence=evidence,
        )  # fmt: skip
        emit(finished)
        return finished

    def _run_steps(self, steps: Sequence[StepEntry], deadline: float | None) -> tuple[str, Status]:
        """The first step that didn't pass decides; all skipped is skipped."""
        marks = {**self._test.namespace.labels, **labels(self._stage.session.run_id, self._name)}
        if self._test.namespace.pod_security:
            marks["pod-security.kubernetes.io/enforce"] = self._test.namespace.pod_security
        make_namespace(self._stage.cluster, self.namespace, marks, self._stage.session.waiter)
        bad: StepFinished | None = None
        skipped: list[str] = []
        runner = self._runner(self._scope)
        section = self._of(self._section, deadline=deadline)
        for index, entry in enumerate(steps):
            result = runner.run(section, index, entry)
            if result.status == "skipped":
                skipped.append(result.message)
            elif result.status != "passed":
                if bad is None:
                    bad = result
                    self._failure = replace(self._failure, step=result, looked_at=tuple(runner.looked_at))
                if not entry.raw.get("continueOnFailure"):
                    break
        if bad is not None:
            return f"{bad.title}: {bad.message}", bad.status
        if steps and len(skipped) == len(steps):
            return skipped[0], "skipped"
        return "", "passed"

    def _explain(self, on_failure: Sequence[StepEntry]) -> str:
        """Run the author's onFailure steps and collect the evidence; returns the folder."""
        if self._stage.session.cancel.is_set():
            return ""
        make_private(self._stage.session.folder)
        folder = self._folder()
        writer = EvidenceWriter(folder=folder, masks=self._stage.session.masks)
        for number, ended in enumerate(self._broken_off):
            writer.write(f"background/{number}.txt", ended.told())
        runner = self._runner(TestScope(cancel=self._stage.session.cancel))
        for index, entry in enumerate(on_failure):
            result = runner.run(self._of("onFailure", once=True), index, entry)
            text = "\n".join(part for part in (result.message, result.actual or "", result.detail) if part)
            writer.write(f"onFailure/{index}-{entry.key}.txt", text)
        self._backgrounds.end_steps()
        collect_evidence(
            writer, self._stage.cluster, self._evidence_namespaces(), failure=self._failure, own=(self.namespace,)
        )
        return self._stage.session.shown(folder)

    def _evidence_namespaces(self) -> tuple[str, ...]:
        setup = self.values.get("setup", {}).get("namespace")
        components = {name for item in self.values.get("components", {}).values() for name in item["namespaces"]}
        return tuple(dict.fromkeys([self.namespace, *([setup] if setup else []), *sorted(components), "kube-system"]))

    def undo(self) -> list[str]:
        """The author's clean-up, then whatever the steps have registered, then the namespace; returns what went wrong."""
        if self._stage.session.cancel.is_set() and self._stage.disposable:
            return []
        problems: list[str] = []
        scope = TestScope(cancel=threading.Event())
        runner = self._runner(scope)
        for index, entry in enumerate(self._test.cleanup):
            result = runner.run(self._of("cleanup", timeout=CLEANUP_TIMEOUT), index, entry)
            if result.status in ("failed", "error"):
                problems.append(f"{result.title}: {result.message}")
        problems += [f"{each.title}: {each.message}" for each in troubles(self._backgrounds.end_all())]
        problems += scope.unwind() + self._scope.unwind()
        try:
            remove_namespace(self._stage.cluster, self.namespace)
        except KoalesceError as error:
            problems.append(error.message)
        return problems

    def _folder(self) -> Path:
        """Where everything of this test is kept that outlives it."""
        return self._stage.folder / (self.namespace if self._name != "setup" else "setup")

    def _runner(self, scope: TestScope) -> StepRunner:
        stage = self._stage
        return StepRunner(
            cluster=stage.cluster, namespace=self.namespace, scope=scope, clock=stage.session.clock,
            interrupt=stage.session.interrupt, files=stage.files, emit=stage.session.emit,
            labels=labels(stage.session.run_id, self._name), values=self.values,
            artifacts=self._folder() / "copied", backgrounds=self._backgrounds,
            disruptive=self._test.disruptive or self._section == "setup",
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

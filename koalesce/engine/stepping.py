"""Running one step: its conditions, its items, its attempts, its outputs, and the events that tell of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from koalesce.clock import Clock
from koalesce.cluster import Cluster
from koalesce.durations import format_seconds
from koalesce.engine.attempts import Interrupt, Looked, Looker, RetryPolicy, Sleeper, act_until_ready
from koalesce.engine.scopes import StepScope, TestScope
from koalesce.engine.verdicts import Consistently, Eventually, Never, Rule, StableFor
from koalesce.errors import KoalesceError
from koalesce.events import AnyEvent, OutcomeName, Status, StepAttempted, StepFinished, StepStarted
from koalesce.kube import ApiError
from koalesce.spec.entries import BoundStep, StepEntry
from koalesce.spec.fields import ExpectedFailure, Output, StepFields
from koalesce.steps.base import Action, Assertion, Errored, Failed, Files, Hold, Outcome, Passed, Step, StepContext
from koalesce.steps.sightings import Sightings

DEFAULT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A list of steps within a test: `steps`, `setup`, `cleanup`, `onFailure` or `ready`."""

    spec: str
    test: str
    name: str
    timeout: float = DEFAULT_TIMEOUT
    deadline: float | None = None  # of the whole test, in the clock's seconds
    once: bool = False  # look once only (onFailure)


@dataclass(slots=True, kw_only=True)
class StepRunner:
    """Runs the steps of one test, in one namespace. `values` are what expressions may name; `outputs` of steps are added to it."""

    cluster: Cluster
    namespace: str
    scope: TestScope
    clock: Clock
    interrupt: Interrupt
    files: Files
    emit: Callable[[AnyEvent], None]
    labels: Mapping[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    sightings: Sightings = field(default_factory=Sightings)

    def run(self, section: Section, index: int, entry: StepEntry) -> StepFinished:
        """Run a step to its end, once for each item until one doesn't pass; returns the last event of the worst item."""
        results: list[tuple[StepFinished, dict[str, Any]]] = []
        for item in self._items(entry):
            results.append(_StepRun(self, section, index, entry).run(item))
            if results[-1][0].status in ("failed", "error") and not entry.raw.get("continueOnFailure"):
                break
        if not results:
            return _StepRun(self, section, index, entry).none("foreach has no items: nothing was done")
        self._keep_outputs(entry, [outputs for _, outputs in results])
        return max((finished for finished, _ in results), key=lambda finished: _SEVERITY[finished.status])

    def _items(self, entry: StepEntry) -> Iterator[Mapping[str, Any]]:
        """What each run of the step adds to the values; a list that can't be had is one run, which tells."""
        if entry.foreach is None:
            yield {}
            return
        try:
            items = entry.items(self.values)
        except KoalesceError:
            yield {}
            return
        for number, item in enumerate(items):
            yield {entry.foreach.item: item, "item": item, "index": number, **self._around(item)}

    def _around(self, item: Any) -> dict[str, Any]:
        """For an item that is a node of the cluster: `node`, and `others`, all nodes but it."""
        nodes = self.values.get("nodes", [])
        if not isinstance(item, Mapping) or item not in nodes:
            return {}
        return {"node": item, "others": [node for node in nodes if node != item]}

    def _keep_outputs(self, entry: StepEntry, found: list[dict[str, Any]]) -> None:
        """Add what the step gave to `outputs`; under foreach each output is the list over the items."""
        known: dict[str, Any] = self.values.setdefault("outputs", {})
        for name in {name for outputs in found for name in outputs}:
            values = [outputs.get(name) for outputs in found]
            known[name] = values if entry.foreach is not None else values[0]


_SEVERITY: dict[Status, int] = {"skipped": 0, "passed": 1, "failed": 2, "error": 3}


class _StepRun:
    """One run of one step, for one item."""

    def __init__(self, runner: StepRunner, section: Section, index: int, entry: StepEntry) -> None:
        self._runner = runner
        self._section = section
        self._index = index
        self._entry = entry
        self._title = entry.title
        self._told = ""

    def run(self, item: Mapping[str, Any]) -> tuple[StepFinished, dict[str, Any]]:
        values = {**self._runner.values, **item}
        try:
            reason, bound = self._bind(values)
        except KoalesceError as error:
            self._start(DEFAULT_TIMEOUT)
            return self._finish("error", Looked(outcome=Errored(str(error)), attempts=0, seconds=0.0)), {}
        if bound is None:
            return self.skip(reason), {}
        self._title = bound.fields.name or f"{bound.step.title()}{_item_suffix(item)}"
        timeout = self._timeout(bound.fields)
        self._start(timeout)
        looked = self._look(bound, values, timeout)
        outputs = self._outputs(bound.fields, looked)
        looked = _in_time(looked, bound.fields)
        return self._finish(_status(looked.outcome), looked), outputs

    def none(self, reason: str) -> StepFinished:
        """A step over an empty list has observed nothing, and fails."""
        self._start(0.0)
        return self._finish("failed", Looked(outcome=Failed(reason), attempts=0, seconds=0.0))

    def skip(self, reason: str) -> StepFinished:
        """A step that doesn't apply."""
        self._start(0.0)
        return self._finish("skipped", Looked(outcome=Passed(reason), attempts=0, seconds=0.0))

    def _bind(self, values: Mapping[str, Any]) -> tuple[str, BoundStep | None]:
        """The step, or why it is left out: that comes first, so that what doesn't apply needs not resolve."""
        cluster = self._runner.cluster
        if missing := [name for name in self._entry.raw.get("requires", ()) if name not in cluster.capabilities]:
            return f"the cluster lacks {', '.join(missing)}", None
        condition = self._entry.condition(values)
        if condition is not None:
            reason = condition.unmet(version=cluster.kubernetes, capabilities=cluster.capabilities)
            if reason is not None:
                return reason, None
        if self._entry.foreach is not None and "item" not in values:
            self._entry.items(values)  # raises, with the place, what kept the list from being had
        return "", self._entry.bind(values)

    def _timeout(self, fields: StepFields) -> float:
        timeout = fields.timeout.seconds if fields.timeout else self._section.timeout
        if self._section.deadline is not None:
            timeout = min(timeout, max(0.0, self._section.deadline - self._runner.clock.monotonic()))
        return timeout

    def _look(self, bound: BoundStep, values: Mapping[str, Any], timeout: float) -> Looked:
        """All attempts of the step."""
        runner, step, fields = self._runner, bound.step, bound.fields
        began = runner.clock.monotonic()
        scope = StepScope(test=runner.scope, clock=runner.clock, deadline=began + timeout)
        sleeper = Sleeper(runner.clock, runner.interrupt)
        view = runner.cluster.kube.view(sleeper.wake)
        context = StepContext(
            cluster=runner.cluster,
            view=view,
            namespace=runner.namespace,
            scope=scope,
            files=runner.files,
            labels=runner.labels,
            variables=values,
            may_not_exist=fields.may_not_exist,
            patient=fields.patient,
            negated=fields.never is not None,
            sightings=runner.sightings,
        )
        policy = _policy(fields, once=self._section.once or not _is_retried(step, fields))

        def attempt() -> Outcome:
            view.begin()
            return step.attempt(context)  # type: ignore[attr-defined, no-any-return]  # called for assertions only

        try:
            if isinstance(step, Action):
                looked = act_until_ready(
                    lambda: step.act(context),
                    deadline=scope.deadline,
                    clock=runner.clock,
                    sleeper=sleeper,
                    policy=policy,
                )
            elif isinstance(step, Assertion):
                looked = Looker(
                    rule=_rule(fields, scope.deadline, began),
                    policy=policy,
                    clock=runner.clock,
                    sleeper=sleeper,
                    look=attempt,
                    is_watched=lambda: view.has_read and not step.polls,
                    seen=self._attempted,
                ).run()
            else:
                looked = Looked(
                    outcome=Errored(f"steps of the type {step.key} don't run in this place"), attempts=0, seconds=0.0
                )
            looked = self._hold(looked, sleeper)
            return _explained(_expected(looked, fields), view.history())
        finally:
            view.close()
            sleeper.close()

    def _hold(self, looked: Looked, sleeper: Sleeper) -> Looked:
        """Let the time of a `sleep` pass."""
        if not isinstance(looked.outcome, Hold):
            return looked
        seconds = looked.outcome.duration.seconds
        sleeper.watching = False
        sleeper.sleep(seconds)
        passed = Passed(f"{format_seconds(seconds)} passed")
        return Looked(outcome=passed, attempts=looked.attempts, seconds=looked.seconds + seconds)

    def _outputs(self, fields: StepFields, looked: Looked) -> dict[str, Any]:
        """What the step gives to later ones; an output that isn't there is an error of the step."""
        if not isinstance(looked.outcome, Passed):
            return {}
        value = looked.outcome.value
        outputs: dict[str, Any] = {}
        for name, output in fields.outputs.items():
            problem = _read_output(name, output, value, outputs)
            if problem is not None:
                looked.outcome = Failed(problem, final=True)
        return outputs

    def _start(self, timeout: float) -> None:
        section, entry = self._section, self._entry
        self._runner.emit(
            StepStarted(
                spec=section.spec, test=section.test, section=section.name, index=self._index, type=entry.key,
                title=self._title, line=entry.line, timeout=round(timeout, 3),
            )
        )  # fmt: skip

    def _attempted(self, number: int, outcome: Outcome) -> None:
        """Tell of an attempt that saw something new."""
        message = getattr(outcome, "message", "")
        if message == self._told:
            return
        self._told = message
        section = self._section
        self._runner.emit(
            StepAttempted(
                spec=section.spec, test=section.test, section=section.name, index=self._index, attempt=number,
                outcome=_outcome_name(outcome), message=message,
            )
        )  # fmt: skip

    def _finish(self, status: Status, looked: Looked) -> StepFinished:
        section, entry, outcome = self._section, self._entry, looked.outcome
        event = StepFinished(
            spec=section.spec, test=section.test, section=section.name, index=self._index, type=entry.key, title=self._title,
            line=entry.line, status=status, attempts=looked.attempts, seconds=round(looked.seconds, 4),
            message=getattr(outcome, "message", ""), expected=getattr(outcome, "expected", None),
            actual=getattr(outcome, "actual", None), detail=getattr(outcome, "detail", ""),
            settled=None if looked.settled is None else round(looked.settled, 4),
        )  # fmt: skip
        self._runner.emit(event)
        return event


def _item_suffix(item: Mapping[str, Any]) -> str:
    """What tells the runs of a foreach apart: the item's name, or the item, or its number."""
    if not item:
        return ""
    value = item["item"]
    if isinstance(value, Mapping):
        value = value.get("name", item["index"])
    text = value if isinstance(value, str) else json.dumps(value)
    return f" [{text}]"


def _is_retried(step: Step, fields: StepFields) -> bool:
    timed = fields.stable_for or fields.consistently or fields.never
    return bool(fields.retry or timed) or not isinstance(step, Assertion) or step.is_retried()


def _policy(fields: StepFields, *, once: bool) -> RetryPolicy:
    default = RetryPolicy()
    retry = fields.retry
    if retry is None:
        return RetryPolicy(attempts=1) if once else default
    every = retry.every.seconds if retry.every else default.every
    longest = retry.max.seconds if retry.max else (max(every, default.longest) if retry.backoff else every)
    return RetryPolicy(
        every=every, backoff=retry.backoff or 1.0, longest=longest, attempts=1 if once else retry.attempts
    )


def _rule(fields: StepFields, deadline: float, began: float) -> Rule:
    if fields.stable_for:
        return StableFor(deadline=deadline, hold=fields.stable_for.seconds)
    if fields.consistently:
        return Consistently(end=began + fields.consistently.seconds)
    if fields.never:
        return Never(end=began + fields.never.seconds)
    return Eventually(deadline=deadline)


def _status(outcome: Outcome) -> Status:
    return _outcome_name(outcome)


def _outcome_name(outcome: Outcome) -> OutcomeName:
    match outcome:
        case Passed() | Hold():
            return "passed"
        case Failed():
            return "failed"
        case Errored():
            return "error"
        case _:
            assert_never(outcome)


def _in_time(looked: Looked, fields: StepFields) -> Looked:
    """`within`: what held too late has failed."""
    if fields.within is None or not isinstance(looked.outcome, Passed):
        return looked
    settled = looked.settled if looked.settled is not None else looked.seconds
    if settled > fields.within.seconds:
        took = format_seconds(settled)
        looked.outcome = Failed(
            f"held only after {took}: {looked.outcome.message}", expected=f"within {fields.within}", actual=took
        )
    return looked


def _expected(looked: Looked, fields: StepFields) -> Looked:
    """`expectFailure`: a refusal is what was hoped for."""
    wanted = fields.expect_failure
    if wanted is False:
        return looked
    match looked.outcome:
        case Passed(message=message):
            looked.outcome = Failed(f"was to be refused, but was not: {message}", expected="a refusal", actual="done")
        case Failed(message=message):
            problem = _refusal_problem(wanted, message, looked.refused) if isinstance(wanted, ExpectedFailure) else None
            looked.outcome = (
                Failed(problem, actual=message) if problem else Passed(f"refused: {message}", {"message": message})
            )
        case _:
            pass
    return looked


def _refusal_problem(wanted: ExpectedFailure, message: str, refused: ApiError | None) -> str | None:
    """What is wrong with a refusal, None if it is as expected."""
    if wanted.code is not None and (refused is None or wanted.code != refused.status):
        return f"refused with the status {refused.status if refused else 'of no API server'}, expected {wanted.code}"
    if wanted.reason is not None and (refused is None or wanted.reason != refused.reason):
        return f"refused with the reason {refused.reason if refused else 'of no API server'}, expected {wanted.reason}"
    if wanted.message is not None:
        from koalesce.matching.matcher import Matcher  # imported here: few steps expect a failure

        mismatch = Matcher.model_validate(wanted.message).check(message)
        return f"refused, but in other words: {mismatch.message}" if mismatch else None
    return None


def _explained(looked: Looked, history: list[str]) -> Looked:
    """A failure with what changed while it was waited for."""
    outcome = looked.outcome
    if isinstance(outcome, Failed) and history:
        lines = "\n".join(["what changed meanwhile:", *(f"  {line}" for line in history[-12:])])
        detail = f"{outcome.detail}\n{lines}" if outcome.detail else lines
        looked.outcome = Failed(outcome.message, outcome.expected, outcome.actual, detail, outcome.final)
    return looked


def _read_output(name: str, output: Output, value: Any, outputs: dict[str, Any]) -> str | None:
    try:
        outputs[name] = output.read(value)
    except ValueError as error:
        return f"output {name}: {error}"
    return None

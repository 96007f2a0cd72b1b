"""Running one step: its conditions, its items, its attempts, its outputs, and the events that tell of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from koalesce.clock import Clock
from koalesce.cluster import Cluster
from koalesce.durations import format_seconds
from koalesce.engine.attempts import Interrupt, Looked, Looker, RetryPolicy, Sleeper, act_until_ready
from koalesce.engine.backgrounds import LONGEST, Backgrounds, Going, Serving
from koalesce.engine.explaining import Sights, explained
from koalesce.engine.items import NoItems, items_of
from koalesce.engine.judging import as_expected, in_time, is_retried, outcome_name, policy_of, rule_of
from koalesce.engine.scopes import StepScope, TestScope
from koalesce.engine.sites import Entered
from koalesce.engine.verdicts import Eventually
from koalesce.errors import KoalesceError
from koalesce.events import AnyEvent, Status, StepAttempted, StepFinished, StepStarted
from koalesce.expressions import ExpressionError, has_expression, paths_of, resolve
from koalesce.kube import View
from koalesce.spec.entries import BoundStep, StepEntry
from koalesce.spec.fields import Output, Places, StepFields
from koalesce.steps.background import InBackground
from koalesce.steps.base import (
    Action,
    Assertion,
    Background,
    Errored,
    Failed,
    Files,
    Hold,
    Outcome,
    Passed,
    StepContext,
)
from koalesce.steps.sightings import Sightings
from koalesce.steps.stop import Stop
from koalesce.steps.use import Use

DEFAULT_TIMEOUT = 30.0
AFTERWARDS = ("cleanup", "onFailure")  # sections that run even where others broke off


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A list of steps within a test: `steps`, `setup`, `cleanup`, `onFailure` or `ready`."""

    spec: str
    test: str
    name: str
    timeout: float = DEFAULT_TIMEOUT
    deadline: float | None = None  # of the whole test, in the clock's seconds
    once: bool = False  # look once only (onFailure)
    group: str = ""  # what the titles of steps begin with, within a group


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
    disruptive: bool = False  # may change what isn't the test's own
    backgrounds: Backgrounds = field(default_factory=Backgrounds)
    artifacts: Path | None = None  # where steps keep what they bring home
    looked_at: list[Mapping[str, Any]] = field(default_factory=list)  # what the last step that didn't pass had read
    place: str = ""  # which cluster of the spec this is, where it has several
    enter: Callable[[str], Entered] | None = None  # goes to another

    def at(self, place: str) -> StepRunner:
        """The same for another cluster of the spec; KoalesceError if there is none, or nothing can be done there."""
        if place == self.place or self.enter is None:
            return self
        entered = self.enter(place)
        return replace(
            self, place=place, cluster=entered.site.cluster, values={**self.values, **entered.site.values},
            sightings=entered.sightings, scope=self.scope.at(place),
        )  # fmt: skip

    def run(self, section: Section, index: int, entry: StepEntry) -> StepFinished:
        """Run a step to its end, once for each item until one doesn't pass; returns the last event of the worst item."""
        place = entry.raw.get("cluster")
        if isinstance(place, str) and not has_expression(place):
            try:
                there = self.at(place)
            except KoalesceError as error:
                return _StepRun(self, section, index, entry).refuse(str(error))
            if there is not self:
                return there.run(section, index, entry)
        results: list[tuple[StepFinished, dict[str, Any]]] = []
        try:
            items = self._items(section, index, entry)
        except NoItems as error:
            return _StepRun(self, section, index, entry).without_items(error.outcome)
        for item in items:
            results.append(_StepRun(self, section, index, entry).run(item))
            if results[-1][0].status in ("failed", "error") and not entry.raw.get("continueOnFailure"):
                break
        if not results:
            nothing = Failed("foreach has no items: nothing was done")
            return _StepRun(self, section, index, entry).without_items(nothing)
        self._keep_outputs(entry, [outputs for _, outputs in results])
        return max((finished for finished, _ in results), key=lambda finished: _SEVERITY[finished.status])

    def run_group(self, section: Section, index: int, entry: StepEntry) -> StepFinished:
        """Run the steps of a group until one doesn't pass; the last event of the worst."""
        results: list[StepFinished] = []
        for child in entry.children:
            results.append(self.run(section, index, child))
            if results[-1].status in ("failed", "error") and not child.raw.get("continueOnFailure"):
                break
        return max(results, key=lambda finished: _SEVERITY[finished.status])

    def _items(self, section: Section, index: int, entry: StepEntry) -> list[Mapping[str, Any]]:
        """What each run of the step adds to the values; a list that can't be had is one run, which tells."""
        if entry.foreach is None:
            return [{}]
        try:
            found = entry.items(self.values)
        except KoalesceError:
            return [{}]
        items = _StepRun(self, section, index, entry).look_for(found) if isinstance(found, Places) else found
        return [
            {entry.foreach.item: item, "item": item, "index": number, **self._around(item)}
            for number, item in enumerate(items)
        ]

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
        self._sights = Sights(runner.clock)
        self._looker: Looker | None = None

    def run(self, item: Mapping[str, Any]) -> tuple[StepFinished, dict[str, Any]]:
        values = {**self._runner.values, **item}
        try:
            if has_expression(place := self._entry.raw.get("cluster")):
                self._runner = self._runner.at(str(resolve(place, values)))
                values = {**self._runner.values, **item}
            reason, bound = self._bind(values)
        except KoalesceError as error:
            return self.refuse(str(error)), {}
        if bound is not None and isinstance(bound.step, Stop) and self._runner.backgrounds.find(bound.step.id) is None:
            reason, bound = f"{bound.step.id} was not started", None
        if bound is None:
            return self.skip(reason), {}
        self._title = bound.fields.name or f"{bound.step.title()}{_item_suffix(item)}"
        if isinstance(bound.step, Use):
            self._title = f"{bound.fields.name or bound.step.title()}{_item_suffix(item)}"
            return self._run_group(bound.fields)
        timeout = self._timeout(bound.fields)
        self._start(timeout)
        looked = self._look(bound, values, timeout)
        outputs = self._outputs(bound.fields, looked)
        looked = in_time(looked, bound.fields)
        return self._finish(outcome_name(looked.outcome), looked), outputs

    def _run_group(self, fields: StepFields) -> tuple[StepFinished, dict[str, Any]]:
        """Run the steps of the group that a `use` step stands for, with what they may know, and read what the group gives."""
        runner, group, section = self._runner, self._entry.group, self._section
        if group is None:
            raise AssertionError("a use step has a group")
        inner = replace(runner, values={**runner.values, "outputs": {}}, backgrounds=Backgrounds())
        try:
            params = {**group.params, **fields.with_}
            inner.values["params"] = {name: resolve(value, inner.values) for name, value in params.items()}
            worst = inner.run_group(replace(section, group=f"{section.group}{self._title}: "), self._index, self._entry)
            if worst.status != "passed":
                return worst, {}
            given = resolve(group.outputs, inner.values)
        except ExpressionError as error:
            return self._unread(Errored(f"{group.described}: {error.message}")), {}
        finally:
            runner.backgrounds.adopt(inner.backgrounds)
        looked = Looked(outcome=Passed("", given), attempts=1, seconds=0.0)
        outputs = self._outputs(fields, looked) if fields.outputs else dict(given)
        return (worst, outputs) if isinstance(looked.outcome, Passed) else (self._unread(looked.outcome), {})

    def _unread(self, outcome: Outcome) -> StepFinished:
        """A group whose parameters or outputs can't be had."""
        self._start(0.0)
        return self._finish(outcome_name(outcome), Looked(outcome=outcome, attempts=0, seconds=0.0))

    def refuse(self, reason: str) -> StepFinished:
        """A step that can't even begin."""
        self._start(DEFAULT_TIMEOUT)
        return self._finish("error", Looked(outcome=Errored(reason), attempts=0, seconds=0.0))

    def look_for(self, places: Places) -> list[Any]:
        """The pods or nodes that a `foreach` goes over, as they are now; NoItems where there are none."""
        runner = self._runner
        view = runner.cluster.kube.view(lambda: None)
        deadline = runner.clock.monotonic() + self._section.timeout
        try:
            view.begin()
            context = self._context(StepFields(), runner.values, view, deadline, runner.scope)
            return items_of(places, context, runner.values.get("nodes", []))
        except KoalesceError as error:
            raise NoItems(Errored(error.message)) from error
        finally:
            view.close()

    def without_items(self, outcome: Failed | Errored) -> StepFinished:
        """A step over an empty list has observed nothing, and fails, unless it doesn't apply at all."""
        with contextlib.suppress(KoalesceError):
            if reason := self._unmet(self._runner.values):
                return self.skip(reason)
        return self._unread(outcome)

    def skip(self, reason: str) -> StepFinished:
        """A step that doesn't apply."""
        self._start(0.0)
        return self._finish("skipped", Looked(outcome=Passed(reason), attempts=0, seconds=0.0))

    def _bind(self, values: Mapping[str, Any]) -> tuple[str, BoundStep | None]:
        """The step, or why it is left out: that comes first, so that what doesn't apply needs not resolve."""
        if reason := self._unmet(values):
            return reason, None
        if self._entry.foreach is not None and "item" not in values:
            self._entry.items(values)  # raises, with the place, what kept the list from being had
        return "", self._entry.bind(values)

    def _unmet(self, values: Mapping[str, Any]) -> str | None:
        """Why the step doesn't apply: what the cluster lacks, its `if`, or an output that the test never came to make."""
        cluster = self._runner.cluster
        if missing := [name for name in self._entry.raw.get("requires", ()) if name not in cluster.capabilities]:
            return f"the cluster lacks {', '.join(missing)}"
        if self._section.name in AFTERWARDS and (missing := self._never_made(values)):
            return f'no step came to make the output "{missing[0]}"'
        condition = self._entry.condition(values)
        if condition is None:
            return None
        return condition.unmet(version=cluster.kubernetes, capabilities=cluster.capabilities)

    def _never_made(self, values: Mapping[str, Any]) -> list[str]:
        """The outputs that the step takes and that aren't there, as the steps which make them were left out or not reached."""
        paths = [path for text in self._entry.expressions for path in paths_of(text)]
        taken = [str(path.segments[0]) for path in paths if path.root == "outputs" and path.segments]
        return [name for name in taken if name not in values.get("outputs", {})]

    def _timeout(self, fields: StepFields) -> float:
        timeout = fields.timeout.seconds if fields.timeout else self._section.timeout
        if self._section.deadline is not None:
            timeout = min(timeout, max(0.0, self._section.deadline - self._runner.clock.monotonic()))
        return timeout

    def _look(self, bound: BoundStep, values: Mapping[str, Any], timeout: float) -> Looked:
        """All attempts of the step, and what they mean."""
        runner = self._runner
        sleeper = Sleeper(runner.clock, runner.interrupt)
        view = runner.cluster.kube.view(sleeper.wake)
        deadline = runner.clock.monotonic() + timeout
        # What is to be refused leaves nothing behind where it is accepted: it has an undo list of its own.
        scope = TestScope(cancel=runner.scope.cancel) if bound.fields.expect_failure else runner.scope
        problems: list[str] = []
        try:
            looked = self._attempts(
                bound, self._context(bound.fields, values, view, deadline, scope), deadline, sleeper
            )
            looked = explained(as_expected(self._hold(looked, sleeper), bound.fields), view, self._sights)
            if isinstance(looked.outcome, Failed | Errored):
                runner.looked_at[:] = [obj for _, obj in view.last_seen()]
        finally:
            view.close()
            sleeper.close()
            if scope is not runner.scope:
                problems = scope.unwind()
        if problems:
            looked.outcome = Errored(f"what was done could not be undone: {'; '.join(problems)}")
        return looked

    def _context(
        self, fields: StepFields, values: Mapping[str, Any], view: View, deadline: float, scope: TestScope
    ) -> StepContext:
        runner = self._runner
        return StepContext(
            cluster=runner.cluster,
            view=view,
            namespace=runner.namespace,
            scope=StepScope(test=scope, clock=runner.clock, deadline=deadline),
            files=self._entry.files or runner.files,
            labels=runner.labels,
            variables=values,
            sightings=runner.sightings,
            may_not_exist=fields.may_not_exist,
            patient=fields.patient,
            disruptive=runner.disruptive,
            expects_refusal=bool(fields.expect_failure),
            negated=fields.never is not None,
            lasts=bool(fields.never or fields.consistently or fields.stable_for),
            artifacts=runner.artifacts,
        )

    def _attempts(self, bound: BoundStep, context: StepContext, deadline: float, sleeper: Sleeper) -> Looked:
        clock, step, fields, view = self._runner.clock, bound.step, bound.fields, context.view
        policy = policy_of(fields, once=self._section.once or not is_retried(step, fields))
        if isinstance(step, Action):
            return act_until_ready(
                lambda: step.act(context), deadline=deadline, clock=clock, sleeper=sleeper, policy=policy
            )
        if isinstance(step, InBackground):
            return self._go_on(step, context.variables)
        if isinstance(step, Stop):
            return self._stop(step, deadline, sleeper)

        def attempt() -> Outcome:
            view.begin()
            if isinstance(step, Background):
                return self._serve(step, context)
            if isinstance(step, Assertion):
                return step.attempt(context)
            return Errored(f"steps of the type {step.key} don't run in this place", final=True)

        looker = Looker(
            rule=rule_of(fields, deadline, clock.monotonic()),
            policy=policy,
            clock=clock,
            sleeper=sleeper,
            look=attempt,
            is_watched=lambda: view.has_read and not step.polls,
            seen=self._attempted,
        )
        self._looker = looker
        return looker.run()

    def _go_on(self, step: InBackground, values: Mapping[str, Any]) -> Looked:
        """Start the step of a `background` step in a thread of its own."""
        runner, inner = self._runner, self._entry.inner
        if inner is None:
            raise AssertionError("a background step has a step to run")
        bound, interrupt = inner.bind(values), runner.interrupt.child()
        quiet = replace(
            runner, interrupt=interrupt, scope=runner.scope.within(interrupt.event), emit=lambda _event: None
        )
        going = Going(
            f"{step.id} ({bound.title})",
            _InThread(_StepRun(quiet, self._section, self._index, inner), bound, values),
            cancel=lambda: runner.interrupt.close(interrupt), cancelled=interrupt.event, clock=runner.clock,
        )  # fmt: skip
        runner.backgrounds.started(step.id, going)
        return Looked(outcome=Passed(f"{bound.title} goes on"), attempts=1, seconds=0.0)

    def _serve(self, step: Background, context: StepContext) -> Outcome:
        """Start a step that goes on by itself."""
        running = step.start(context)
        if isinstance(running, Failed | Errored):
            return running
        self._runner.backgrounds.serving(step.id, Serving(step.title(), running, self._runner.clock))
        return Passed(f"{step.title()} goes on", running.value)

    def _stop(self, step: Stop, deadline: float, sleeper: Sleeper) -> Looked:
        """End what goes on under an id, once it has ended by itself where that is waited for."""
        runner = self._runner
        began, ongoing = runner.clock.monotonic(), runner.backgrounds.find(step.id)
        if ongoing is None:
            raise AssertionError("a stop of nothing is skipped")
        if step.wait:
            ongoing.watch(sleeper.wake)
            Looker(
                rule=Eventually(deadline=deadline), policy=RetryPolicy(), clock=runner.clock, sleeper=sleeper,
                look=lambda: Passed("") if ongoing.has_ended else step.unfinished(ongoing.title),
                is_watched=lambda: True, seen=self._attempted,
            ).run()  # fmt: skip
        outcome = step.judge(runner.backgrounds.end(step.id))
        return Looked(outcome=outcome, attempts=1, seconds=runner.clock.monotonic() - began)

    def run_apart(self, bound: BoundStep, values: Mapping[str, Any]) -> Looked:
        """All attempts of a step that goes on in the background, without telling of it."""
        timeout = bound.fields.timeout.seconds if bound.fields.timeout else LONGEST
        if self._section.deadline is not None:
            timeout = min(timeout, max(0.0, self._section.deadline - self._runner.clock.monotonic()))
        return in_time(self._look(bound, values, timeout), bound.fields)

    def hurry(self) -> bool:
        """Have the next look decide; False if there are no looks yet."""
        looker = self._looker
        if looker is None:
            return False
        looker.hurry()
        return True

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
                title=section.group + self._title, line=entry.line, timeout=round(timeout, 3),
            )
        )  # fmt: skip

    def _attempted(self, number: int, outcome: Outcome) -> None:
        """Tell of an attempt that saw something new."""
        self._sights.note(outcome)
        message = getattr(outcome, "message", "")
        if message == self._told:
            return
        self._told = message
        section = self._section
        self._runner.emit(
            StepAttempted(
                spec=section.spec, test=section.test, section=section.name, index=self._index, attempt=number,
                outcome=outcome_name(outcome), message=message,
            )
        )  # fmt: skip

    def _finish(self, status: Status, looked: Looked) -> StepFinished:
        section, entry, outcome = self._section, self._entry, looked.outcome
        event = StepFinished(
            spec=section.spec, test=section.test, section=section.name, index=self._index, type=entry.key, title=section.group + self._title,
            line=entry.line, status=status, attempts=looked.attempts, seconds=round(looked.seconds, 4),
            message=getattr(outcome, "message", ""), expected=getattr(outcome, "expected", None),
            actual=getattr(outcome, "actual", None), detail=getattr(outcome, "detail", ""),
            settled=None if looked.settled is None else round(looked.settled, 4),
        )  # fmt: skip
        self._runner.emit(event)
        return event


class _InThread:
    """A step as its own thread runs it."""

    def __init__(self, run: _StepRun, bound: BoundStep, values: Mapping[str, Any]) -> None:
        self._run, self._bound, self._values = run, bound, values
        self._is_repeated = isinstance(bound.step, Assertion) and is_retried(bound.step, bound.fields)

    def run(self) -> Looked:
        """All of its attempts."""
        return self._run.run_apart(self._bound, self._values)

    def hurry(self) -> bool:
        """Have the next look decide; what looks only once is in the middle of it, and has to be cancelled."""
        return self._is_repeated and self._run.hurry()


def _item_suffix(item: Mapping[str, Any]) -> str:
    """What tells the runs of a foreach apart: the item's name, or the item, or its number."""
    if not item:
        return ""
    value = item["item"]
    if isinstance(value, Mapping):
        value = value.get("name", item["index"])
    text = value if isinstance(value, str) else json.dumps(value)
    return f" [{text}]"


def _read_output(name: str, output: Output, value: Any, outputs: dict[str, Any]) -> str | None:
    try:
        outputs[name] = output.read(value)
    except ValueError as error:
        return f"output {name}: {error}"
    return None

"""One run of one step, for one item: its conditions, its attempts, its outputs, and the events that tell of it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from koalesce.durations import format_seconds
from koalesce.engine.apart import go_on, keep_asking, serve, stop
from koalesce.engine.attempts import Looked, Looker, Sleeper, act_until_ready
from koalesce.engine.backgrounds import LONGEST, Backgrounds
from koalesce.engine.courses import Walk
from koalesce.engine.explaining import Sights, explained
from koalesce.engine.items import NoItems, items_of
from koalesce.engine.judging import as_expected, in_time, is_retried, outcome_name, policy_of, rule_of
from koalesce.engine.scopes import StepScope, TestScope
from koalesce.engine.sections import AFTERWARDS, DEFAULT_TIMEOUT, Section
from koalesce.errors import KoalesceError
from koalesce.events import Status, StepAttempted, StepFinished, StepStarted
from koalesce.expressions import ExpressionError, find_expressions, has_expression, paths_of, resolve
from koalesce.kube import View
from koalesce.spec.entries import BoundStep, StepEntry
from koalesce.spec.fields import Output, Places, StepFields
from koalesce.steps.background import InBackground
from koalesce.steps.base import (
    Action,
    Assertion,
    Background,
    Course,
    Errored,
    Failed,
    Hold,
    Outcome,
    Passed,
    StepContext,
)
from koalesce.steps.stop import Stop
from koalesce.steps.use import Use

if TYPE_CHECKING:
    from koalesce.engine.stepping import StepRunner


class StepRun:
    """One run of one step, for one item."""

    def __init__(self, runner: StepRunner, section: Section, index: int, entry: StepEntry) -> None:
        self.runner = runner
        self.section = section
        self.index = index
        self.entry = entry
        self._title = entry.title
        self._told = ""
        self._sights = Sights(runner.clock)
        self._looker: Looker | None = None

    def run(self, item: Mapping[str, Any]) -> tuple[StepFinished, dict[str, Any]]:
        """Run it to its end, with what `item` adds to the values; the last event, and its outputs."""
        values = {**self.runner.values, **item}
        try:
            if has_expression(place := self.entry.raw.get("cluster")):
                self.runner = self.runner.at(str(resolve(place, values)))
                values = {**self.runner.values, **item}
            reason, bound = self._bind(values)
        except KoalesceError as error:
            return self.refuse(str(error)), {}
        if bound is not None and isinstance(bound.step, Stop) and self.runner.backgrounds.find(bound.step.id) is None:
            reason, bound = f"{bound.step.id} was not started", None
        if bound is None:
            return self.skip(reason), {}
        self._title = bound.title if _tells(self.entry.raw.get("name"), item) else f"{bound.title}{_item_suffix(item)}"
        if isinstance(bound.step, Use):
            return self._run_group(bound.fields)
        timeout = self._timeout(bound.fields)
        self._start(
            0.0 if isinstance(bound.step, Course) else timeout, bound.step.ongoing()
        )  # a course's is of each change, not of all
        looked = self.look(bound, values, timeout)
        outputs = self._outputs(bound.fields, looked)
        looked = in_time(looked, bound.fields)
        return self._finish(outcome_name(looked.outcome), looked), outputs

    def _run_group(self, fields: StepFields) -> tuple[StepFinished, dict[str, Any]]:
        """Run the steps of the group that a `use` step stands for, with what they may know, and read what the group gives."""
        runner, group, section = self.runner, self.entry.group, self.section
        if group is None:
            raise AssertionError("a use step has a group")
        inner = replace(runner, values={**runner.values, "outputs": {}}, backgrounds=Backgrounds())
        try:
            params = {**group.params, **fields.with_}
            inner.values["params"] = {name: resolve(value, inner.values) for name, value in params.items()}
            worst = inner.run_group(replace(section, group=f"{section.group}{self._title}: "), self.index, self.entry)
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
        runner = self.runner
        view = runner.cluster.kube.view(lambda: None)
        deadline = runner.clock.monotonic() + self.section.timeout
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
            if reason := self._unmet(self.runner.values):
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
        if self.entry.foreach is not None and "item" not in values:
            self.entry.items(values)  # raises, with the place, what kept the list from being had
        return "", self.entry.bind(values)

    def _unmet(self, values: Mapping[str, Any]) -> str | None:
        """Why the step doesn't apply: what the cluster lacks, its `if`, or an output that the test never came to make."""
        cluster = self.runner.cluster
        if missing := [name for name in self.entry.required(values) if name not in cluster.capabilities]:
            return f"the cluster lacks {', '.join(missing)}"
        if self.section.name in AFTERWARDS and (missing := self._never_made(values)):
            return f'no step came to make the output "{missing[0]}"'
        condition = self.entry.condition(values)
        if condition is None:
            return None
        return condition.unmet(version=cluster.kubernetes, capabilities=cluster.capabilities)

    def _never_made(self, values: Mapping[str, Any]) -> list[str]:
        """The outputs that the step takes and that aren't there, as the steps which make them were left out or not reached."""
        paths = [path for text in self.entry.expressions for path in paths_of(text)]
        taken = [str(path.segments[0]) for path in paths if path.root == "outputs" and path.segments]
        return [name for name in taken if name not in values.get("outputs", {})]

    def _timeout(self, fields: StepFields) -> float:
        timeout = fields.timeout.seconds if fields.timeout else self.section.timeout
        if self.section.deadline is not None:
            timeout = min(timeout, max(0.0, self.section.deadline - self.runner.clock.monotonic()))
        return timeout

    def look(self, bound: BoundStep, values: Mapping[str, Any], timeout: float) -> Looked:
        """All attempts of the step, and what they mean."""
        runner = self.runner
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
            looked = explained(as_expected(self._hold(looked, bound.fields, sleeper), bound.fields), view, self._sights)
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
        runner = self.runner
        return StepContext(
            cluster=runner.cluster,
            view=view,
            namespace=runner.namespace,
            scope=StepScope(test=scope, clock=runner.clock, deadline=deadline),
            files=self.entry.files or runner.files,
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
        clock, step, fields, view = self.runner.clock, bound.step, bound.fields, context.view
        policy = policy_of(fields, once=self.section.once or not is_retried(step, fields))
        if isinstance(step, Action):
            return act_until_ready(
                lambda: step.act(context), deadline=deadline, clock=clock, sleeper=sleeper, policy=policy
            )
        if isinstance(step, Course):
            walk = Walk(
                context=context, scope=self.runner.scope, fields=fields, policy=policy, timeout=max(0.0, deadline - clock.monotonic()),
                end=self.section.deadline, clock=clock, sleeper=sleeper, seen=self.attempted,
            )  # fmt: skip
            return walk.run(step.stages(context))
        if isinstance(step, InBackground) and step.every is None:
            return go_on(self, step, context.variables)
        if isinstance(step, Stop):
            return stop(self, step, deadline, sleeper, may_not_exist=fields.may_not_exist)

        def attempt() -> Outcome:
            view.begin()
            if isinstance(step, InBackground):
                return keep_asking(self, step, context)
            if isinstance(step, Background):
                return serve(self.runner, step, context, sleeper)
            if isinstance(step, Assertion):
                return step.attempt(context)
            return Errored(f"steps of the type {step.key} don't run in this place", final=True)

        looker = Looker(
            rule=rule_of(fields, deadline, clock.monotonic()),
            policy=policy,
            clock=clock,
            sleeper=sleeper,
            look=attempt,
            is_watched=lambda: view.has_read and not (step.polls or isinstance(step, InBackground)),
            seen=self.attempted,
            compares=step.needs_time,
        )
        self._looker = looker
        return looker.run()

    def beside(self, runner: StepRunner, inner: StepEntry) -> StepRun:
        """The step that a `background` step runs, by a runner of its own."""
        return StepRun(runner, self.section, self.index, inner)

    def run_apart(self, bound: BoundStep, values: Mapping[str, Any]) -> Looked:
        """All attempts of a step that goes on in the background, without telling of it."""
        timeout = bound.fields.timeout.seconds if bound.fields.timeout else LONGEST
        if self.section.deadline is not None:
            timeout = min(timeout, max(0.0, self.section.deadline - self.runner.clock.monotonic()))
        return in_time(self.look(bound, values, timeout), bound.fields)

    def hurry(self) -> bool:
        """Have the next look decide; False if there are no looks yet."""
        looker = self._looker
        if looker is None:
            return False
        looker.hurry()
        return True

    def _hold(self, looked: Looked, fields: StepFields, sleeper: Sleeper) -> Looked:
        """Let the time of a `sleep` pass, as far as there is any: its own `timeout`, if one is said, and the test's."""
        if not isinstance(looked.outcome, Hold):
            return looked
        wanted = looked.outcome.duration.seconds
        seconds = min(wanted, fields.timeout.seconds if fields.timeout else wanted)
        if self.section.deadline is not None:
            seconds = min(seconds, max(0.0, self.section.deadline - self.runner.clock.monotonic()))
        sleeper.watching = False
        sleeper.sleep(seconds)
        outcome: Outcome = Passed(f"{format_seconds(seconds)} passed")
        if seconds < wanted:
            said, left = format_seconds(wanted), format_seconds(seconds)
            outcome = Failed(f"only {left} of {said} could pass, then its time was over", said, left, final=True)
        return Looked(outcome=outcome, attempts=looked.attempts, seconds=looked.seconds + seconds)

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

    def _start(self, timeout: float, ongoing: str = "") -> None:
        section, entry = self.section, self.entry
        self.runner.timeline.begin(section.group + self._title, self.runner.clock.monotonic())
        self.runner.emit(
            StepStarted(
                spec=section.spec, test=section.test, section=section.name, index=self.index, type=entry.key,
                title=section.group + self._title, line=entry.line, timeout=round(timeout, 3), ongoing=ongoing,
            )
        )  # fmt: skip

    def attempted(self, number: int, outcome: Outcome) -> None:
        """Tell of an attempt that saw something new."""
        self._sights.note(outcome)
        message = getattr(outcome, "message", "")
        if message == self._told:
            return
        self._told = message
        section = self.section
        self.runner.emit(
            StepAttempted(
                spec=section.spec, test=section.test, section=section.name, index=self.index, attempt=number,
                outcome=outcome_name(outcome), message=message,
            )
        )  # fmt: skip

    def _finish(self, status: Status, looked: Looked) -> StepFinished:
        section, entry, outcome = self.section, self.entry, looked.outcome
        self.runner.timeline.finish(self.runner.clock.monotonic())
        event = StepFinished(
            spec=section.spec, test=section.test, section=section.name, index=self.index, type=entry.key, title=section.group + self._title,
            line=entry.line, status=status, attempts=looked.attempts, seconds=round(looked.seconds, 4),
            message=getattr(outcome, "message", ""), expected=getattr(outcome, "expected", None),
            actual=getattr(outcome, "actual", None), detail=getattr(outcome, "detail", ""),
            settled=None if looked.settled is None else round(looked.settled, 4), grids=getattr(outcome, "grids", ()),
            series=getattr(outcome, "series", ()), sessions=getattr(outcome, "sessions", ()),
        )  # fmt: skip
        self.runner.emit(event)
        return event


def _tells(name: Any, item: Mapping[str, Any]) -> bool:
    """Whether the name that a step was given has an expression that tells the runs of its foreach apart."""
    expressions = list(find_expressions(name))
    return any(re.search(rf"\b{re.escape(known)}\b", text) for text in expressions for known in item)


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

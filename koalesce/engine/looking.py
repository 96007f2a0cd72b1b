"""All attempts of one step: what each of them is given, which kind of step is looked at how, and what they mean together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from koalesce.durations import format_seconds
from koalesce.engine.apart import go_on, keep_asking, serve, stop
from koalesce.engine.attempts import Looked, Looker, RetryPolicy, Sleeper, act_until_ready
from koalesce.engine.backgrounds import LONGEST
from koalesce.engine.courses import Walk
from koalesce.engine.explaining import explained
from koalesce.engine.items import NoItems, items_of
from koalesce.engine.judging import as_expected, in_time, is_retried, policy_of, rule_of
from koalesce.engine.scopes import StepScope, TestScope
from koalesce.engine.sections import Section
from koalesce.engine.telling import Telling
from koalesce.errors import KoalesceError
from koalesce.kube import View
from koalesce.spec.entries import BoundStep, StepEntry
from koalesce.spec.fields import Places, StepFields
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

if TYPE_CHECKING:
    from koalesce.engine.stepping import StepRunner


class Looking:
    """The attempts of one step, by a runner, in a section."""

    def __init__(self, runner: StepRunner, section: Section, index: int, entry: StepEntry) -> None:
        self.runner = runner
        self.entry = entry
        self.telling = Telling(section, index, entry, emit=runner.emit, timeline=runner.timeline, clock=runner.clock)
        self._section = section
        self._index = index
        self._looker: Looker | None = None

    def timeout(self, fields: StepFields, default: float) -> float:
        """How long it may take: its own `timeout` or the default, and no longer than its section."""
        timeout = fields.timeout.seconds if fields.timeout else default
        return min(timeout, self._left())

    def look(self, bound: BoundStep, values: Mapping[str, Any], timeout: float) -> Looked:
        """All attempts, and what they mean but for `within`."""
        runner = self.runner
        sleeper = Sleeper(runner.clock, runner.interrupt)
        view = runner.cluster.kube.view(sleeper.wake)
        deadline = runner.clock.monotonic() + timeout
        # What is to be refused leaves nothing behind where it is accepted: it has an undo list of its own.
        scope = TestScope(cancel=runner.scope.cancel) if bound.fields.expect_failure else runner.scope
        problems: list[str] = []
        try:
            context = self._context(bound.fields, values, view, deadline, scope)
            looked = self._hold(self._attempts(bound, context, deadline, sleeper), bound.fields, sleeper)
            looked = explained(as_expected(looked, bound.fields), view, self.telling.sights)
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

    def look_for(self, places: Places) -> list[Any]:
        """The pods or nodes that a `foreach` goes over, as they are now; NoItems where there are none."""
        runner = self.runner
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

    def beside(self, runner: StepRunner, inner: StepEntry) -> Looking:
        """The attempts of the step that a `background` step runs, by a runner of its own."""
        return Looking(runner, self._section, self._index, inner)

    def apart(self, bound: BoundStep, values: Mapping[str, Any]) -> Looked:
        """All attempts of a step that goes on in the background, without telling of it."""
        return in_time(self.look(bound, values, self.timeout(bound.fields, LONGEST)), bound.fields)

    def hurry(self) -> bool:
        """Have the next look decide; False if there are no looks yet."""
        looker = self._looker
        if looker is None:
            return False
        looker.hurry()
        return True

    def _left(self) -> float:
        """Seconds until the section has to be over."""
        if self._section.deadline is None:
            return float("inf")
        return max(0.0, self._section.deadline - self.runner.clock.monotonic())

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
        clock, step, fields = self.runner.clock, bound.step, bound.fields
        policy = policy_of(fields, once=self._section.once or not is_retried(step, fields))
        if isinstance(step, Action):
            return act_until_ready(
                lambda: step.act(context), deadline=deadline, clock=clock, sleeper=sleeper, policy=policy
            )
        if isinstance(step, Course):
            walk = Walk(
                context=context, scope=self.runner.scope, fields=fields, policy=policy, timeout=max(0.0, deadline - clock.monotonic()),
                end=self._section.deadline, clock=clock, sleeper=sleeper, seen=self.telling.attempted,
            )  # fmt: skip
            return walk.run(step.stages(context))
        if isinstance(step, InBackground) and step.every is None:
            return go_on(self, step, context.variables)
        if isinstance(step, Stop):
            return stop(self, step, deadline, sleeper, may_not_exist=fields.may_not_exist)
        return self._looks(bound, context, deadline, sleeper, policy)

    def _looks(
        self, bound: BoundStep, context: StepContext, deadline: float, sleeper: Sleeper, policy: RetryPolicy
    ) -> Looked:
        clock, step, view = self.runner.clock, bound.step, context.view

        def attempt() -> Outcome:
            view.begin()
            if isinstance(step, InBackground):
                return keep_asking(self, step, context)
            if isinstance(step, Background):
                return serve(self.runner, step, context, sleeper)
            if isinstance(step, Assertion):
                return step.attempt(context)
            return Errored(f"steps of the type {step.key} don't run in this place", final=True)

        self._looker = Looker(
            rule=rule_of(bound.fields, deadline, clock.monotonic()),
            policy=policy,
            clock=clock,
            sleeper=sleeper,
            look=attempt,
            is_watched=lambda: view.has_read and not (step.polls or isinstance(step, InBackground)),
            seen=self.telling.attempted,
            compares=step.needs_time,
        )
        return self._looker.run()

    def _hold(self, looked: Looked, fields: StepFields, sleeper: Sleeper) -> Looked:
        """Let the time of a `sleep` pass, as far as there is any: its own `timeout`, if one is said, and the test's."""
        if not isinstance(looked.outcome, Hold):
            return looked
        wanted = looked.outcome.duration.seconds
        seconds = min(wanted, self.timeout(fields, wanted))
        sleeper.watching = False
        sleeper.sleep(seconds)
        outcome: Outcome = Passed(f"{format_seconds(seconds)} passed")
        if seconds < wanted:
            said, left = format_seconds(wanted), format_seconds(seconds)
            outcome = Failed(f"only {left} of {said} could pass, then its time was over", said, left, final=True)
        return Looked(outcome=outcome, attempts=looked.attempts, seconds=looked.seconds + seconds)

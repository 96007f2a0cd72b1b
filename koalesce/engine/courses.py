"""Courses: steps of several changes, each of which is made, awaited and measured by itself."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from koalesce.clock import Clock
from koalesce.durations import format_seconds
from koalesce.engine.attempts import Looked, Looker, RetryPolicy, Sleeper, act_until_ready, guarded
from koalesce.engine.judging import rule_of
from koalesce.engine.scopes import StepScope, TestScope
from koalesce.spec.fields import StepFields
from koalesce.steps.base import Ended, Errored, Failed, Outcome, Passed, Stage, StepContext


@dataclass(slots=True, kw_only=True)
class Walk:
    """Walks through the stages of a course. Each has `timeout` seconds for itself (or its own), but none lasts beyond `end`."""

    context: StepContext
    scope: TestScope
    fields: StepFields
    policy: RetryPolicy
    timeout: float
    end: float | None
    clock: Clock
    sleeper: Sleeper
    seen: Callable[[int, Outcome], None]
    _attempts: int = 0
    _slowest: float | None = None

    def run(self, stages: Generator[Stage, Ended, Outcome]) -> Looked:
        """All stages; what they mean, and how long the slowest took to take effect."""
        began = self.clock.monotonic()
        outcome = guarded(lambda: self._through(stages))
        seconds = self.clock.monotonic() - began
        return Looked(outcome=outcome, attempts=self._attempts, seconds=seconds, settled=self._slowest)

    def _through(self, stages: Generator[Stage, Ended, Outcome]) -> Outcome:
        try:
            stage = next(stages)
            while True:
                stage = stages.send(self._run(stage))
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        finally:
            stages.close()

    def _run(self, stage: Stage) -> Ended:
        began = self.clock.monotonic()
        deadline = began + (self.timeout if stage.timeout is None else stage.timeout.seconds)
        deadline = deadline if self.end is None else min(deadline, self.end)
        context = replace(
            self.context, memory={}, scope=StepScope(test=self.scope, clock=self.clock, deadline=deadline)
        )
        acted = act_until_ready(
            lambda: stage.act(context), deadline=deadline, clock=self.clock, sleeper=self.sleeper, policy=self.policy
        )
        if not isinstance(acted.outcome, Passed):
            return Ended(outcome=acted.outcome, seconds=acted.seconds)
        changed = self.clock.monotonic()

        def look() -> Outcome:
            context.view.begin()
            return stage.look(context)

        looked = Looker(
            rule=rule_of(self.fields, deadline, changed),
            policy=self.policy,
            clock=self.clock,
            sleeper=self.sleeper,
            look=look,
            is_watched=lambda: context.view.has_read and not stage.polls,
            seen=self._tell(stage),
        ).run()
        self._attempts += looked.attempts
        return self._ended(stage, looked)

    def _tell(self, stage: Stage) -> Callable[[int, Outcome], None]:
        """Tell of a look with what it's about."""

        def tell(number: int, outcome: Outcome) -> None:
            if isinstance(outcome, Failed | Errored):
                self.seen(self._attempts + number, replace(outcome, message=f"{stage.title}: {outcome.message}"))

        return tell

    def _ended(self, stage: Stage, looked: Looked) -> Ended:
        """How a stage ended: in effect only after the time that the author gave (`within`) is too late."""
        seconds = looked.seconds if looked.settled is None else looked.settled
        if stage.measured and isinstance(looked.outcome, Passed):
            self._slowest = max(seconds, self._slowest or 0.0)
            within = self.fields.within
            if within is not None and seconds > within.seconds:
                took = format_seconds(seconds)
                late = Failed(f"held only after {took}: {looked.outcome.message}", f"within {within}", took)
                return Ended(outcome=late, seconds=seconds)
        return Ended(outcome=looked.outcome, seconds=seconds)

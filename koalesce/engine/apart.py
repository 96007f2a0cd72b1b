"""Steps that go on beside others: started in threads of their own or as servers, and ended by `stop`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from koalesce.engine.attempts import Looked, Looker, RetryPolicy, Sleeper
from koalesce.engine.backgrounds import Asking, Going, Serving
from koalesce.engine.judging import is_retried
from koalesce.engine.verdicts import Eventually
from koalesce.spec.entries import BoundStep
from koalesce.steps.background import InBackground
from koalesce.steps.base import Assertion, Background, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.stop import Stop

if TYPE_CHECKING:
    from koalesce.engine.looking import Looking
    from koalesce.engine.stepping import StepRunner
    from koalesce.steps.wire.flows import Probe


def go_on(looking: Looking, step: InBackground, values: Mapping[str, Any]) -> Looked:
    """Start the step of a `background` step in a thread of its own."""
    runner, inner = looking.runner, looking.entry.inner
    if inner is None:
        raise AssertionError("a background step has a step to run")
    bound, interrupt = inner.bind(values), runner.interrupt.child()
    quiet = replace(
        runner,
        interrupt=interrupt,
        scope=runner.scope.within(interrupt.event),
        emit=lambda _event: None,
        looked_at=[],
    )
    going = Going(
        f"{step.id} ({bound.title})",
        _InThread(looking.beside(quiet, inner), bound, values),
        cancel=lambda: runner.interrupt.close(interrupt), cancelled=interrupt.event, clock=runner.clock,
    )  # fmt: skip
    runner.backgrounds.started(step.id, going)
    return Looked(outcome=Passed(f"{bound.title} goes on"), attempts=1, seconds=0.0)


def keep_asking(looking: Looking, step: InBackground, context: StepContext) -> Outcome:
    """Have a `background` step with a rhythm ask, once all that it asks is as expected."""
    from koalesce.steps.wire.traffic import Traffic  # few tests ask again and again

    runner, inner = looking.runner, looking.entry.inner
    if inner is None or step.every is None:
        raise AssertionError("what is asked again and again has a step to run and a rhythm")
    bound = inner.bind(context.variables)
    probe = cast("Probe", bound.step)  # validated with the spec
    outcome = probe.attempt(context)
    if not isinstance(outcome, Passed):
        return outcome
    flows = probe.flows(context)
    if isinstance(flows, Failed | Errored):
        return flows
    traffic = Traffic(flows, now=runner.clock.monotonic)
    if (problem := traffic.begin(step.every.seconds, context)) is not None:
        return problem
    asking = Asking(f"{step.id} ({bound.title})", traffic, runner.timeline, runner.clock)
    runner.backgrounds.started(step.id, asking)
    return Passed(f"{bound.title}: asked every {step.every} from now on, {len(flows)} at a time")


def serve(runner: StepRunner, step: Background, context: StepContext, sleeper: Sleeper) -> Outcome:
    """Start a step that goes on by itself; one that has a time is over when that is."""
    if step.disturbs:
        runner.backgrounds.disturb(runner.cluster)
    running = step.start(context)
    if isinstance(running, Failed | Errored):
        return running
    if step.lasting is not None:
        sleeper.watching = False
        try:
            sleeper.sleep(step.lasting.seconds)
        finally:
            outcome = running.stop()
        return outcome
    runner.backgrounds.serving(step.id, Serving(step.title(), running, runner.clock, disturbs=step.disturbs))
    return Passed(f"{step.title()} goes on", running.value)


def stop(looking: Looking, step: Stop, deadline: float, sleeper: Sleeper, *, may_not_exist: bool) -> Looked:
    """End what goes on under an id, once it has ended by itself where that is waited for."""
    runner = looking.runner
    began, ongoing = runner.clock.monotonic(), runner.backgrounds.find(step.id)
    if ongoing is None:
        raise AssertionError("a stop of nothing is skipped")
    if step.wait:
        ongoing.watch(sleeper.wake)
        Looker(
            rule=Eventually(deadline=deadline), policy=RetryPolicy(), clock=runner.clock, sleeper=sleeper,
            look=lambda: Passed("") if ongoing.has_ended else step.unfinished(ongoing.title),
            is_watched=lambda: True, seen=looking.telling.attempted,
        ).run()  # fmt: skip
    outcome = step.judge(runner.backgrounds.end(step.id), may_not_exist=may_not_exist)
    return Looked(outcome=outcome, attempts=1, seconds=runner.clock.monotonic() - began)


class _InThread:
    """A step as its own thread runs it."""

    def __init__(self, looking: Looking, bound: BoundStep, values: Mapping[str, Any]) -> None:
        self._looking, self._bound, self._values = looking, bound, values
        self._is_repeated = isinstance(bound.step, Assertion) and is_retried(bound.step, bound.fields)

    def run(self) -> Looked:
        """All of its attempts."""
        return self._looking.apart(self._bound, self._values)

    def hurry(self) -> bool:
        """Have the next look decide; what looks only once is in the middle of it, and has to be cancelled."""
        return self._is_repeated and self._looking.hurry()

"""Waiting for something of the cluster's own (nodes, components, a namespace): the same looks as a step's, without a spec's step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from koalesce.clock import Clock
from koalesce.engine.attempts import Interrupt, Looked, Looker, RetryPolicy, Sleeper
from koalesce.engine.explaining import explained
from koalesce.engine.verdicts import Eventually
from koalesce.kube import Kube, View
from koalesce.steps.base import Outcome

# A step's policy, but for the first looks: what a run waits for itself (a namespace's account) is there in no time.
POLICY = RetryPolicy(every=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """Waits on behalf of a run: ends early when the run is interrupted (raises Interrupted)."""

    clock: Clock
    interrupt: Interrupt

    def until(
        self,
        kube: Kube,
        look: Callable[[View], Outcome],
        *,
        timeout: float,
        seen: Callable[[int, Outcome], None] = lambda _attempt, _outcome: None,
    ) -> Looked:
        """Look through a watching view until it passes, can no longer, or `timeout` seconds are over."""
        sleeper = Sleeper(self.clock, self.interrupt)
        view = kube.view(sleeper.wake)

        def attempt() -> Outcome:
            view.begin()
            return look(view)

        try:
            looked = Looker(
                rule=Eventually(deadline=self.clock.monotonic() + timeout),
                policy=POLICY,
                clock=self.clock,
                sleeper=sleeper,
                look=attempt,
                is_watched=lambda: view.has_read,
                seen=seen,
            ).run()
            return explained(looked, view)
        finally:
            view.close()
            sleeper.close()

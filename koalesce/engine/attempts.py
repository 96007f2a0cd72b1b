"""Looking again and again: the only place that waits between attempts, and the only user of tenacity."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import tenacity

from koalesce.clock import Clock
from koalesce.engine.verdicts import Rule
from koalesce.errors import ClusterError, Interrupted, KoalesceError
from koalesce.kube import ApiError, ExecTimeout
from koalesce.kube.errors import TIMEOUT
from koalesce.process import CommandTimeout
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.objects.acting import refused

SAFETY_LOOK = 30.0  # seconds after which something watched is looked at although nothing changed
_BUSY = 429
_TROUBLE = 1.0  # seconds of back-off from which on who can't answer is asked half as often
COALESCE = 0.05  # at most one look in this many seconds, however many changes come


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to look at what can't be watched: seconds before the second look, growth, limit, and number of attempts."""

    every: float = 0.25
    backoff: float = 1.5
    longest: float = 2.0
    attempts: int | None = None


class Interrupt:
    """The event that ends a run (or one spec of it), with callbacks: one thread waits for it on behalf of all who sleep."""

    def __init__(self, event: threading.Event, parent: Interrupt | None = None) -> None:
        self.event = event
        self._reason = ""
        self._parent = parent
        self._callbacks: set[Callable[[], None]] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._wait, name="interrupt", daemon=True).start()

    @property
    def reason(self) -> str:
        """Why what this is for ended."""
        return self._reason or (self._parent.reason if self._parent is not None else "interrupted")

    def child(self) -> Interrupt:
        """One that is set with this one, and may be set alone."""
        child = Interrupt(threading.Event(), self)
        self.subscribe(child.event.set)
        return child

    def set(self, reason: str) -> None:
        """End what this is for; `reason` says why in its reports."""
        self._reason = reason
        self.event.set()

    def close(self, child: Interrupt) -> None:
        """A child is of no more use."""
        self.unsubscribe(child.event.set)
        child.event.set()

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call back when the event is set (at once if it already is)."""
        with self._lock:
            self._callbacks.add(callback)
        if self.event.is_set():
            callback()

    def unsubscribe(self, callback: Callable[[], None]) -> None:
        """Call back no more."""
        with self._lock:
            self._callbacks.discard(callback)

    def _wait(self) -> None:
        self.event.wait()
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()


class Sleeper:
    """Sleeps until a time, a change, or the interrupt."""

    def __init__(self, clock: Clock, interrupt: Interrupt) -> None:
        self._clock = clock
        self._interrupt = interrupt
        self._wake = threading.Event()
        self._rouse = threading.Event()
        self._looked = 0.0
        self.watching = False
        interrupt.subscribe(self.rouse)

    def wake(self) -> None:
        """Something changed."""
        self._wake.set()

    def rouse(self) -> None:
        """Sleep no more, whatever it is that is waited for."""
        self._rouse.set()
        self._wake.set()

    def begin(self) -> None:
        """A look begins: what changes from now on wakes the next sleep."""
        self._looked = self._clock.monotonic()
        self._wake.clear()

    def sleep(self, seconds: float) -> None:
        """Sleep so long at most; raises Interrupted once the run is to end.

        Changes end it early while something watched was read; then many in a row make one look.
        """
        event = self._interrupt.event
        if self.watching and self._wake.wait(max(0.0, seconds)):
            event.wait(max(0.0, self._looked + COALESCE - self._clock.monotonic()))
        elif not self.watching:
            self._rouse.wait(max(0.0, seconds))
        if event.is_set():
            raise Interrupted

    def close(self) -> None:
        """Forget the interrupt."""
        self._interrupt.unsubscribe(self.rouse)


@dataclass(slots=True, kw_only=True)
class Looked:
    """What came of a row of attempts."""

    outcome: Outcome
    attempts: int
    seconds: float
    settled: float | None = None  # seconds from the start until it held


@dataclass(slots=True, kw_only=True)
class Looker:
    """Repeats an attempt under a rule.

    `look` makes one attempt and may raise KoalesceError, which counts as an error that may pass; `is_watched` says after each
    attempt whether a change will wake us; `seen` is told each outcome. `compares`: each look is judged by the one before, so that
    what has failed by a change may hold from now on without a further one.
    """

    rule: Rule
    policy: RetryPolicy
    clock: Clock
    sleeper: Sleeper
    look: Callable[[], Outcome]
    is_watched: Callable[[], bool]
    seen: Callable[[int, Outcome], None] = field(default=lambda _attempt, _outcome: None)
    compares: bool = False
    _is_error: bool = field(default=False, init=False)  # the last look could not tell
    _has_moved: bool = field(default=False, init=False)
    _is_last: bool = False

    def hurry(self) -> None:
        """Look once more, from now on, and have that decide (from another thread)."""
        self._is_last = True
        self.sleeper.rouse()

    def run(self) -> Looked:
        """Look until the rule decides; raises Interrupted when the run is to end."""
        started = self.clock.monotonic()
        backoff = tenacity.wait_exponential(
            multiplier=self.policy.every, exp_base=self.policy.backoff, min=self.policy.every, max=self.policy.longest
        )
        attempts = 0
        outcome: Outcome

        def attempt() -> bool:
            nonlocal attempts, outcome
            attempts += 1
            self.sleeper.begin()
            if self._is_last:
                self.rule.finish(self.clock.monotonic())
            outcome = guarded(self.look)
            self._is_error = isinstance(outcome, Errored)
            self._has_moved = self.compares and isinstance(outcome, Failed)
            self.seen(attempts, outcome)
            verdict = self.rule.decide(outcome, self.clock.monotonic())
            outcome = verdict or outcome
            return verdict is not None

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda decided: not decided),
            wait=lambda state: self._wait(backoff(state)),
            stop=tenacity.stop_after_attempt(self.policy.attempts) if self.policy.attempts else tenacity.stop_never,
            sleep=self.sleeper.sleep,
            retry_error_callback=lambda _state: False,
        )
        retrying(attempt)
        settled = self.rule.settled
        return Looked(
            outcome=outcome,
            attempts=attempts,
            seconds=self.clock.monotonic() - started,
            settled=None if settled is None else max(0.0, settled - started),
        )

    def _wait(self, backoff: float) -> float:
        """Seconds to the next look: the back-off, or the slow safety look where a change wakes us; never past the rule's time."""
        self.sleeper.watching = self.is_watched()
        now = self.clock.monotonic()
        if self._is_error and backoff >= _TROUBLE:
            backoff *= 2
        pause = SAFETY_LOOK if self.sleeper.watching and not self._has_moved else backoff
        return max(0.0, min(pause, self.rule.latest(now) - now))


def guarded(look: Callable[[], Outcome]) -> Outcome:
    """One attempt, with every mishap turned into an outcome. The one broad `except` of the engine stands here."""
    try:
        return look()
    except Interrupted:
        raise
    except ApiError as error:
        return Errored(error.message, final=not error.transient, late=_is_late(error))
    except ClusterError as error:
        return Errored(error.message, final=error.is_final, late=_is_late(error))
    except KoalesceError as error:
        return Errored(str(error), late=_is_late(error))
    except Exception as error:  # a bug in a step must not take the run down, nor pass
        return Errored(f"internal error in this step: {type(error).__name__}: {error}", final=True)


def _is_late(error: BaseException | None) -> bool:
    """Whether it comes of an answer that wasn't there in time."""
    while error is not None:
        if isinstance(error, ApiError) and (error.status, error.reason) == (0, TIMEOUT):
            return True
        if isinstance(error, CommandTimeout | ExecTimeout):
            return not error.cancelled
        error = error.__cause__
    return False


def act_until_ready(
    act: Callable[[], Outcome], *, deadline: float, clock: Clock, sleeper: Sleeper, policy: RetryPolicy
) -> Looked:
    """Do something once; only not-ready answers of the API server (refused, webhook not up, kind not there yet) are tried again."""
    started = clock.monotonic()
    attempts = 0

    def once() -> Outcome:
        nonlocal attempts
        attempts += 1
        try:
            return act()
        except ApiError as error:
            if error.transient and clock.monotonic() < deadline:
                raise
            is_refusal = 400 <= error.status < 500 and error.status != _BUSY  # to the end, if it is one that may pass
            return refused(error) if is_refusal else Errored(error.message)

    sleeper.watching = False
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ApiError),
        wait=tenacity.wait_exponential(
            multiplier=policy.every, exp_base=policy.backoff, min=policy.every, max=policy.longest
        ),
        stop=tenacity.stop_never,
        sleep=lambda seconds: sleeper.sleep(max(0.0, min(seconds, deadline - clock.monotonic()))),
        reraise=True,
    )
    outcome = guarded(lambda: retrying(once))
    now = clock.monotonic()
    settled = now - started if isinstance(outcome, Passed) else None
    return Looked(outcome=outcome, attempts=attempts, seconds=now - started, settled=settled)

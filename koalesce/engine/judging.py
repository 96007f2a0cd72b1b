"""What a step's common fields make of it: how often it is looked at, what decides, and what its outcome then means."""

from __future__ import annotations

from typing import assert_never

from koalesce.durations import format_seconds
from koalesce.engine.attempts import Looked, RetryPolicy
from koalesce.engine.verdicts import Consistently, Eventually, Never, Rule, StableFor
from koalesce.events import OutcomeName
from koalesce.kube import ApiError
from koalesce.spec.fields import ExpectedFailure, StepFields
from koalesce.steps.base import Assertion, Errored, Failed, Hold, Outcome, Passed, Step


def is_retried(step: Step, fields: StepFields) -> bool:
    """Whether a step is attempted more than once: what acts isn't, unless its author says so."""
    timed = fields.stable_for or fields.consistently or fields.never
    return bool(fields.retry or timed) or not isinstance(step, Assertion) or step.is_retried()


def policy_of(fields: StepFields, *, once: bool) -> RetryPolicy:
    """How often to look; `retry` without `backoff` has a steady rhythm."""
    default = RetryPolicy()
    retry = fields.retry
    if retry is None:
        return RetryPolicy(attempts=1) if once else default
    every = retry.every.seconds if retry.every else default.every
    longest = retry.max.seconds if retry.max else (max(every, default.longest) if retry.backoff else every)
    return RetryPolicy(
        every=every, backoff=retry.backoff or 1.0, longest=longest, attempts=1 if once else retry.attempts
    )


def rule_of(fields: StepFields, deadline: float, began: float) -> Rule:
    """How looks over time become an outcome."""
    if fields.stable_for:
        return StableFor(deadline=deadline, hold=fields.stable_for.seconds)
    if fields.consistently:
        return Consistently(end=began + fields.consistently.seconds)
    if fields.never:
        return Never(end=began + fields.never.seconds)
    return Eventually(deadline=deadline)


def outcome_name(outcome: Outcome) -> OutcomeName:
    """The word for an outcome."""
    match outcome:
        case Passed() | Hold():
            return "passed"
        case Failed():
            return "failed"
        case Errored():
            return "error"
        case _:
            assert_never(outcome)


def in_time(looked: Looked, fields: StepFields) -> Looked:
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


def as_expected(looked: Looked, fields: StepFields) -> Looked:
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

"""What a step's common fields make of it: how often it is looked at, what decides, and what its outcome then means."""

from __future__ import annotations

from typing import assert_never

from koalesce.durations import format_seconds
from koalesce.engine.attempts import Looked, RetryPolicy
from koalesce.engine.verdicts import Consistently, Eventually, Never, Rule, StableFor
from koalesce.events import OutcomeName
from koalesce.spec.fields import ExpectedFailure, StepFields
from koalesce.steps.base import Assertion, Errored, Failed, Hold, Outcome, Passed, Step

_UNAUTHORIZED = 401
_NOT_FOUND = 404


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
        return Never(end=began + fields.never.seconds, may_not_exist=fields.may_not_exist)
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
            f"held only after {took}: {looked.outcome.message}", expected=f"within {fields.within}", actual=took,
            grids=looked.outcome.grids, series=looked.outcome.series, sessions=looked.outcome.sessions,
            routes=looked.outcome.routes,
        )  # fmt: skip
    return looked


def as_expected(looked: Looked, fields: StepFields) -> Looked:
    """`expectFailure`: a refusal is what was hoped for."""
    wanted = fields.expect_failure
    if wanted is False:
        return looked
    match looked.outcome:
        case Passed(message=message):
            looked.outcome = Failed(f"was accepted: {message}", expected="a refusal", actual="accepted", final=True)
        case Failed() as failed if failed.final:  # one that isn't was still under way: nobody has refused anything
            problem = _refusal_problem(wanted, failed) if isinstance(wanted, ExpectedFailure) else None
            if problem is None and (wanted is True or wanted.takes_any):
                problem = _no_such(failed)
            looked.outcome = Failed(*problem, failed.message, final=True) if problem else _refused(failed)
        case _:
            pass
    return looked


def _refused(failed: Failed) -> Passed:
    """A refusal as it was expected; its outputs are the server's words."""
    error = failed.refusal
    if error is None:
        return Passed(f"refused: {failed.message}", {"message": failed.message})
    value = {"message": error.said, "code": error.status, "reason": error.reason}
    return Passed(f"refused: {failed.message}", value)


def _no_such(failed: Failed) -> tuple[str, str, str] | None:
    """Why a refusal isn't taken of which nobody has said what it's like: it is about something that isn't there, or about us, not about what was asked for."""
    error = failed.refusal
    if error is None:
        if not failed.saw_nothing:
            return None
        actual, matcher = "nothing to refuse", "{message: {contains: …}}"
    else:
        is_ours = error.status == _UNAUTHORIZED and error.said == error.reason
        if error.said.startswith("admission ") or not (is_ours or error.status == _NOT_FOUND):
            return None
        actual, matcher = error.reason, f"{{reason: {error.reason}}}"
    said = f"refused, but not for what it says: {failed.message}; if this is meant, write expectFailure: {matcher}"
    return said, "a refusal of what is asked for", actual


def _refusal_problem(wanted: ExpectedFailure, failed: Failed) -> tuple[str, str, str] | None:
    """What is wrong with a refusal, what was expected of it and what it was; None if it is as expected."""
    error = failed.refusal
    nobody = "no refusal of the API server"
    if wanted.code is not None and (error is None or wanted.code != error.status):
        actual = str(error.status) if error else nobody
        return f"refused with the status {actual}, expected {wanted.code}", str(wanted.code), actual
    if wanted.reason is not None and (error is None or wanted.reason != error.reason):
        actual = error.reason if error else nobody
        return f"refused with the reason {actual}, expected {wanted.reason}", wanted.reason, actual
    if wanted.message is not None:
        from koalesce.matching.matcher import Matcher  # imported here: few steps expect a failure

        mismatch = Matcher.model_validate(wanted.message).check(error.said if error else failed.message)
        if mismatch is not None:
            return f"refused, but in other words: {mismatch.message}", mismatch.expected, mismatch.actual
    return None

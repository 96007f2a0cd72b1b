"""Exit codes, as pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koalesce.errors import Interrupted, KoalesceError, TeardownError, UsageError

if TYPE_CHECKING:
    from koalesce.events import RunFinished  # takes longer to load than all of --help

PASSED = 0
FAILED = 1
USAGE = 2
ERROR = 3
TEARDOWN_FAILED = 4
NO_TESTS = 5
INTERRUPTED = 130
CLOSED_PIPE = 141  # what a shell shows for a program that ended of SIGPIPE


def of_run(end: RunFinished, *, no_skips: bool = False, no_flaky: bool = False) -> int:
    """The code of a run: what is left over outweighs an interruption, that a failure, that an error, that no test at all.

    `no_skips`: a skipped test counts as no test; `no_flaky`: one that passed only when run again counts as failed.
    """
    if end.teardown_failed:
        return TEARDOWN_FAILED
    if end.interrupted:
        return INTERRUPTED
    if end.failed or end.status == "failed" or (no_flaky and end.flaky):
        return FAILED
    if end.error or end.status == "error":
        return ERROR
    if not end.passed or (no_skips and end.skipped):
        return NO_TESTS
    return PASSED


def of_error(error: KoalesceError) -> int:
    """The code of a mishap that ended the command."""
    match error:
        case UsageError():
            return USAGE
        case TeardownError():
            return TEARDOWN_FAILED
        case Interrupted():
            return INTERRUPTED
        case _:
            return ERROR


def worse(one: int, other: int) -> int:
    """Which of two codes of a run that is over outweighs the other."""
    order = (TEARDOWN_FAILED, INTERRUPTED, FAILED, ERROR, NO_TESTS, PASSED)
    return min(one, other, key=order.index)

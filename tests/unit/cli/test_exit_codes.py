from __future__ import annotations

import itertools

import pytest

from koalesce.cli import exit_codes
from koalesce.errors import ClusterError, Interrupted, KoalesceError, ProvisionError, TeardownError, UsageError
from koalesce.events import RunFinished


def finished(**changes: object) -> RunFinished:
    values: dict[str, object] = {"status": "passed", "passed": 1, "failed": 0, "error": 0, "skipped": 0, "seconds": 1.0}
    return RunFinished(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (finished(), 0),
        (finished(skipped=3), 0),
        (finished(failed=1, status="failed"), 1),
        (finished(status="failed"), 1),  # a component that isn't what it should be, before any test
        (finished(error=1, status="error"), 3),
        (finished(status="error", passed=0), 3),
        (finished(passed=0, skipped=2), 5),
        (finished(passed=0, status="skipped"), 5),
        (finished(failed=1, error=1, status="failed"), 1),
        (finished(failed=1, status="failed", interrupted=True), 130),
        (finished(interrupted=True), 130),
        (finished(interrupted=True, teardown_failed=True), 4),
        (finished(teardown_failed=True), 4),
    ],
)
def test_the_code_of_a_run(end: RunFinished, code: int) -> None:
    assert exit_codes.of_run(end) == code


@pytest.mark.parametrize(
    ("end", "code"), [(finished(), 0), (finished(skipped=1), 5), (finished(skipped=1, failed=1), 1)]
)
def test_no_skips_makes_a_skip_count_as_no_test(end: RunFinished, code: int) -> None:
    assert exit_codes.of_run(end, no_skips=True) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (TeardownError("x", command="y"), 4),
        (Interrupted(), 130),
        (ProvisionError("x"), 3),
        (ClusterError("x"), 3),
        (KoalesceError("x"), 3),
    ],
)
def test_the_code_of_a_mishap(error: KoalesceError, code: int) -> None:
    assert exit_codes.of_error(error) == code


def test_over_a_whole_run_the_worst_counts() -> None:
    order = [4, 130, 1, 3, 5, 0]

    for (i, one), (j, other) in itertools.product(enumerate(order), repeat=2):
        assert exit_codes.worse(one, other) == order[min(i, j)]


@pytest.mark.parametrize(("end", "code"), [(finished(), 0), (finished(flaky=1), 1), (finished(error=1, flaky=1), 1)])
def test_no_flaky_makes_a_flaky_test_count_as_failed(end: RunFinished, code: int) -> None:
    assert exit_codes.of_run(end, no_flaky=True) == code


def test_a_flaky_test_has_passed_otherwise() -> None:
    assert exit_codes.of_run(finished(flaky=1)) == 0

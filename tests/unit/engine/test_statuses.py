"""One status out of many."""

import pytest

from koalesce.engine.statuses import overall
from koalesce.events import Status


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["passed", "failed", "error"], "failed"),
        (["passed", "error", "skipped"], "error"),
        (["skipped", "passed"], "passed"),
        (["skipped"], "skipped"),
        ([], "skipped"),
    ],
)
def test_the_worst_decides_and_nothing_run_is_not_passed(statuses: list[Status], status: Status) -> None:
    assert overall(statuses) == status

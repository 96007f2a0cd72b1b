from __future__ import annotations

import pytest
from pydantic import ValidationError

from koalesce.durations import Duration
from koalesce.steps.base import Hold
from tests.fakes import FakeCluster, context, step


def test_asks_for_time_to_pass_and_writes_nothing() -> None:
    sleep = step("sleep: 1m30s")

    assert sleep.act(context(FakeCluster())) == Hold(Duration(90.0))
    assert sleep.title() == "sleep 1m30s"
    assert not sleep.writes


def test_a_number_is_no_duration() -> None:
    with pytest.raises(ValidationError, match="5 is not a duration; write it with a unit"):
        step("sleep: 5")

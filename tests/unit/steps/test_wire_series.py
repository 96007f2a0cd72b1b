"""Tries over time, as reports draw them."""

from __future__ import annotations

from koalesce.steps.wire.series import MOST_SERIES, drawn
from koalesce.steps.wire.tally import Tally
from koalesce.steps.wire.traffic import Report
from tests.unit.steps.test_tally import filled


def report(*tallies: Tally, seconds: float = 12.0) -> Report:
    return Report(
        tallies=tallies, controls=[], began=100.0, seconds=seconds, shifts=[100.0] * len(tallies), spans=[]
    )  # fmt: skip


def test_each_try_is_in_the_span_in_which_it_began() -> None:
    found = drawn("flow", [(filled((0, 0.1, "allowed"), (0.05, 0.3, "allowed"), (6, 1, "dropped"), (12, 0.2, "other")), 100.0)], began=100.0, seconds=12.0)  # fmt: skip

    assert (found.title, found.ago, found.width, len(found.right)) == ("flow", 12.0, 0.1, 120)
    assert [(number, count) for number, count in enumerate(found.right) if count] == [(0, 2)]
    assert [(number, count) for number, count in enumerate(found.lost) if count] == [(60, 1)]
    assert [(number, count) for number, count in enumerate(found.wrong) if count] == [(119, 1)]
    assert (found.usual[0], found.slowest[0], found.usual[60]) == (0.1, 0.3, None)


def test_a_clock_of_another_machine_is_shifted() -> None:
    found = drawn("flow", [(filled((50, 0.1, "allowed")), 56.0)], began=100.0, seconds=12.0)

    assert found.right.index(1) == 60


def test_hardly_any_time_is_one_span() -> None:
    assert drawn("flow", [(filled((0, 0.1, "allowed")), 100.0)], began=100.0, seconds=0.0).right == (1,)


def test_silence_takes_no_time() -> None:
    found = drawn("flow", [(filled((0, 1.5, "dropped"), hopes_for_silence=True), 100.0)], began=100.0, seconds=12.0)

    assert (found.right[0], found.usual[0]) == (1, None)


def test_of_many_flows_the_worst_are_drawn_alone_and_none_is_left_out() -> None:
    good = [filled((0, 0.1, "allowed")) for _ in range(20)]
    bad = filled((0, 0.1, "allowed"), (1, 1, "dropped"))

    found = report(*good, bad).series()

    assert len(found) == MOST_SERIES
    assert sum(found[0].lost) == 1
    assert found[-1].title == "10 others together"
    assert sum(sum(each.right) + sum(each.lost) for each in found) == 22

"""Counting what is asked again and again: what is lost, what is wrong, and when there was no answer."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.steps.inside.places import Source
from koalesce.steps.wire.flows import Flow
from koalesce.steps.wire.probing import Observed, Target
from koalesce.steps.wire.tally import Tally, percentile


def tally(*, hopes_for_silence: bool = False) -> Tally:
    def look(observed: Observed) -> str:
        wanted = "dropped" if hopes_for_silence else "allowed"
        if observed.outcome != wanted:
            return f"{observed.outcome}, expected {wanted}"
        return "another reply" if observed.reply == "other" else ""

    source = Source(kind="host", name="host")
    target = Target(type="tcp", host="10.0.0.1", port=80)
    return Tally(Flow(name="flow", source=source, target=target, look=look, hopes_for_silence=hopes_for_silence))


def filled(*tries: tuple[float, float, str], **given: Any) -> Tally:
    found = tally(**given)
    for at, seconds, what in tries:
        fields = {"outcome": "allowed", "reply": "other"} if what == "other" else {"outcome": what}
        found.add(at, Observed(seconds=seconds, **fields))  # type: ignore[arg-type]  # words of a test
    return found


def test_no_answer_is_lost_and_another_answer_is_wrong() -> None:
    found = filled((0, 0.1, "allowed"), (1, 0.1, "refused"), (2, 0.1, "other"), (3, 1.5, "dropped"), (4, 0, "error"))

    assert {kind: found.count(kind) for kind in ("right", "lost", "wrong", "untried")} == {  # type: ignore[arg-type]  # words
        "right": 1, "lost": 3, "wrong": 1, "untried": 0,
    }  # fmt: skip
    assert dict(found.problems) == {
        "refused, expected allowed": 1,
        "another reply": 1,
        "dropped, expected allowed": 1,
    }


def test_a_gap_lasts_from_the_first_question_without_an_answer_to_the_next_right_one() -> None:
    found = filled(
        (0, 0.1, "allowed"), (1, 1.5, "dropped"), (2, 1.5, "dropped"), (3, 0.5, "allowed"), (4, 0.1, "allowed")
    )

    (gap,) = found.gaps()
    assert (gap.began, gap.ended, gap.lost, gap.wrong) == (1, 3.5, 2, 0)
    assert found.longest_gap() == 2.5


def test_an_answer_that_comes_late_makes_a_gap_though_nothing_is_lost() -> None:
    found = filled((0, 0.1, "allowed"), (1, 2.25, "allowed"), (2, 1.3, "allowed"), (4, 0.1, "allowed"))

    assert found.gaps() == []
    assert found.longest_gap() == 2.25


def test_one_slow_answer_among_quick_ones_makes_none() -> None:
    found = filled((0, 3, "allowed"), (1, 0.25, "allowed"), (2, 0.25, "allowed"), (3, 0.25, "allowed"))

    assert found.longest_gap() == 1.25  # until the first answer came at all


def test_a_probe_that_stands_still_itself_makes_no_gap() -> None:
    found = filled((0, 0.25, "allowed"), (60, 0.25, "allowed"))

    assert found.longest_gap() == 0.25


def test_what_is_never_answered_again_is_a_gap_until_the_end() -> None:
    found = filled((0, 0.1, "allowed"), (1, 1.5, "dropped"), (2, 1.5, "dropped"))

    assert found.longest_gap() == 2.5
    assert [gap.lost for gap in found.gaps()] == [2]


def test_without_any_answer_all_of_it_is_a_gap() -> None:
    assert filled((1, 1.5, "dropped"), (2, 1.5, "dropped")).longest_gap() == 2.5
    assert tally().longest_gap() == 0


def test_where_silence_is_right_an_answer_is_wrong_and_what_cannot_be_tried_says_nothing() -> None:
    tries = [(0, 1.5, "dropped"), (1, 0.1, "allowed"), (2, 0.1, "refused"), (3, 1.5, "dropped"), (4, 0.0, "error")]
    found = filled(*tries, hopes_for_silence=True)

    assert (found.count("wrong"), found.count("untried"), found.count("lost")) == (2, 1, 0)
    assert [(gap.began, gap.ended, gap.wrong) for gap in found.gaps()] == [(1, 2.1, 2)]
    assert (found.longest_gap(), found.latencies()) == (0, [])


@pytest.mark.parametrize(("percent", "expected"), [(50, 2.0), (51, 3.0), (90, 4.0), (99, 4.0), (1, 1.0)])
def test_a_percentile_is_a_value_that_was_seen(percent: float, expected: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == expected

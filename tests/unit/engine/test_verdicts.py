"""Rules over time: what decides a row of looks."""

import pytest

from koalesce.engine.verdicts import Consistently, Eventually, Never, StableFor
from koalesce.steps.base import Errored, Failed, Passed

PASS, FAIL, ERROR = Passed("held"), Failed("not yet"), Errored("probe broken")


def test_eventually_passes_at_the_first_pass() -> None:
    rule = Eventually(deadline=10)

    assert rule.decide(FAIL, 1) is None
    assert rule.decide(PASS, 2) == PASS
    assert rule.settled == 2


def test_eventually_fails_with_the_last_outcome_at_the_deadline() -> None:
    rule = Eventually(deadline=10)

    assert rule.decide(FAIL, 9.9) is None
    assert rule.decide(FAIL, 10) == FAIL


def test_eventually_ends_at_once_when_it_can_no_longer_hold() -> None:
    gone = Failed("image refused", final=True)

    assert Eventually(deadline=10).decide(gone, 0) == gone


LATE = Errored("no answer within 3s", late=True)
CUT_OFF = "not yet (a look after that was cut off by the deadline: no answer within 3s)"


@pytest.mark.parametrize("rule", [Eventually(deadline=10), StableFor(deadline=10, hold=5)], ids=str)
def test_where_the_deadline_cuts_off_a_look_what_the_one_before_saw_counts(rule: Eventually | StableFor) -> None:
    assert rule.decide(FAIL, 6) is None
    assert rule.decide(LATE, 9.99) is None
    assert rule.decide(LATE, 12) == Failed(CUT_OFF)


@pytest.mark.parametrize(
    ("before", "last"),
    [
        ([], LATE),
        ([(ERROR, 7)], LATE),
        ([(FAIL, 1), (ERROR, 7)], LATE),
        ([(FAIL, 1), (LATE, 7)], LATE),
        ([(FAIL, 9)], ERROR),
    ],
    ids=["nothing seen", "only an error", "an error since", "no answer for long", "refused at last"],
)
def test_what_could_not_be_found_out_for_another_reason_stays_an_error(
    before: list[tuple[Failed | Errored, float]], last: Errored
) -> None:
    rule = Eventually(deadline=10)

    assert [rule.decide(outcome, now) for outcome, now in before] == [None] * len(before)
    assert rule.decide(last, 10) == last


DOOMED = Failed("no node fits", final_after=10)


def test_eventually_ends_when_what_looks_hopeless_has_not_changed_for_its_time() -> None:
    rule = Eventually(deadline=60)

    assert rule.decide(FAIL, 1) is None
    assert rule.decide(DOOMED, 2) is None
    assert rule.latest(2) == 12
    assert rule.decide(DOOMED, 11.9) is None
    assert rule.decide(DOOMED, 12) == DOOMED


@pytest.mark.parametrize("other", [FAIL, ERROR, Failed("1 of 3 nodes fits", final_after=10)])
def test_what_looks_hopeless_and_changes_is_given_its_time_anew(other: Failed | Errored) -> None:
    rule = Eventually(deadline=60)

    assert [rule.decide(o, t) for o, t in [(DOOMED, 0), (other, 9), (DOOMED, 10), (DOOMED, 19)]] == [None] * 4
    assert rule.decide(DOOMED, 20) == DOOMED


def test_the_deadline_comes_before_hopelessness() -> None:
    rule = Eventually(deadline=5)

    assert rule.decide(DOOMED, 0) is None
    assert rule.latest(0) == 5
    assert rule.decide(DOOMED, 5) == DOOMED


def test_stable_for_ends_when_it_can_no_longer_hold() -> None:
    rule = StableFor(deadline=60, hold=3)

    assert [rule.decide(o, t) for o, t in [(PASS, 0), (DOOMED, 1), (PASS, 5), (DOOMED, 6)]] == [None] * 4
    assert rule.latest(6) == 16
    outcome = rule.decide(DOOMED, 16)
    assert isinstance(outcome, Failed)
    assert outcome.message == "no node fits (held, but broke 2 times)"


def test_stable_for_starts_anew_after_a_break() -> None:
    rule = StableFor(deadline=10, hold=3)

    assert [rule.decide(o, t) for o, t in [(PASS, 0), (PASS, 2), (FAIL, 2.5), (PASS, 3), (PASS, 5.9)]] == [None] * 5
    assert rule.decide(PASS, 6) == Passed("held, for 3s")


def test_stable_for_may_hold_beyond_the_deadline_but_not_break_there() -> None:
    rule = StableFor(deadline=10, hold=3)

    assert rule.decide(PASS, 9) is None
    assert rule.decide(PASS, 11) is None
    assert rule.decide(FAIL, 11.5) == Failed("not yet (held, but broke once)")


def test_consistently_fails_at_the_first_break() -> None:
    rule = Consistently(end=5)

    assert rule.decide(PASS, 0) is None
    assert rule.decide(FAIL, 1) == FAIL


def test_consistently_passes_at_the_end() -> None:
    rule = Consistently(end=5)

    rule.decide(PASS, 0)

    assert rule.decide(PASS, 5) == Passed("held, at all of 2 looks")


def test_never_fails_as_soon_as_it_holds() -> None:
    rule = Never(end=5)

    rule.decide(FAIL, 0)

    assert rule.decide(PASS, 1) == Failed(
        "was never to hold, but did: held", expected="never", actual="held", final=True
    )


def test_never_is_not_satisfied_by_a_broken_probe() -> None:
    rule = Never(end=5)

    rule.decide(ERROR, 0)

    assert rule.decide(FAIL, 5) == Errored("1 of 2 looks could not tell: probe broken")


def test_never_passes_when_every_look_could_tell() -> None:
    rule = Never(end=5)

    rule.decide(FAIL, 0)

    assert rule.decide(FAIL, 5) == Passed("held at none of 2 looks")


BLIND = Failed("pod/x does not exist", saw_nothing=True)


def test_never_is_not_proven_by_nothing_to_look_at() -> None:
    rule = Never(end=5)

    assert rule.decide(BLIND, 0) is None
    assert rule.decide(BLIND, 5) == Failed(
        "pod/x does not exist, so that it never held proves nothing; say mayNotExist: true if that is meant",
        "something to look at",
        "nothing at 2 looks",
    )


def test_one_look_at_something_is_enough_for_never() -> None:
    rule = Never(end=5)

    assert [rule.decide(BLIND, 0), rule.decide(FAIL, 2)] == [None, None]
    assert rule.decide(BLIND, 5) == Passed("held at none of 3 looks")


def test_never_is_proven_by_nothing_where_that_is_meant() -> None:
    assert Never(end=5, may_not_exist=True).decide(BLIND, 5) == Passed("held at none of 1 looks")

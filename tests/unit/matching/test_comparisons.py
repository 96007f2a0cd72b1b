from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import MISSING
from koalesce.matching.partial import Matching

NOON = "2026-01-01T12:00:00Z"


def said(matcher: Any, value: Any, *, at: str | None = None) -> str | None:
    match = Matching(now=(lambda: datetime.fromisoformat(at).astimezone(UTC)) if at else None)
    found = Matcher.model_validate(matcher).mismatches(value, match)
    return str(found[0]) if found else None


@pytest.mark.parametrize(
    ("matcher", "value"),
    [
        ({"before": NOON}, "2026-01-01T12:59:59+01:00"),
        ({"after": NOON}, "2026-01-01T12:00:00.1Z"),
        ({"semver": ">=1.36 <2"}, "v1.37.2"),
        ({"inCIDR": "10.0.0.0/8"}, "10.1.0.0/16"),
        ({"inCIDR": "fd00::/8"}, "fd00::1"),
        ({"absent": True}, MISSING),
        ({"absent": True}, None),
        ({"anyOf": [1, {"gt": 5}]}, 7),
        ({"allOf": [{"gt": 5}, {"lt": 9}]}, 7),
        ({"anyOf": [{"type": "A"}, {"type": "B"}]}, {"type": "B", "x": 1}),
    ],
)
def test_holds(matcher: Any, value: Any) -> None:
    assert said(matcher, value) is None


@pytest.mark.parametrize(
    ("matcher", "value", "message"),
    [
        ({"before": NOON}, NOON, f'is "{NOON}", expected a time before {NOON}'),
        ({"after": NOON}, "12:00", f'is "12:00", which is no time; expected a time after {NOON}'),
        ({"after": NOON}, MISSING, f"is missing, so there is nothing to compare; expected a time after {NOON}"),
        ({"semver": ">=2"}, "1.37.2", 'is "1.37.2", expected a version >=2'),
        ({"semver": ">=2"}, 2.1, "is 2.1, which is no version; expected a version >=2"),
        ({"inCIDR": "10.0.0.0/8"}, "0.0.0.0/0", 'is "0.0.0.0/0", expected an address in 10.0.0.0/8'),
        ({"inCIDR": "10.0.0.0/8"}, "::1", 'is "::1", expected an address in 10.0.0.0/8'),
        ({"absent": True}, 0, "is 0, expected nothing there"),
        ({"anyOf": [1, {"gt": 9}]}, 7, "is like none of 2 alternatives; nearest: is 7, expected 1"),
        ({"allOf": [{"gt": 5}, {"lt": 6}]}, 7, "is 7, expected < 6"),
        ({"olderThan": "5m"}, NOON, f'is "{NOON}", but what time it is isn\'t known here: ages are for values of objects; expected a time more than 5m ago'),
    ],
)  # fmt: skip
def test_says_what_is_missing(matcher: Any, value: Any, message: str) -> None:
    assert said(matcher, value) == message


@pytest.mark.parametrize(
    ("matcher", "at", "holds"),
    [
        ({"olderThan": "5m"}, "2026-01-01T12:05:01+00:00", True),
        ({"olderThan": "5m"}, "2026-01-01T12:05:00+00:00", False),
        ({"newerThan": "5m"}, "2026-01-01T12:04:59+00:00", True),
        ({"newerThan": "5m"}, "2026-01-01T12:05:00+00:00", False),
        ({"newerThan": "5m"}, "2026-01-01T11:00:00+00:00", True),
    ],
)
def test_ages_are_those_at_the_look(matcher: Any, at: str, holds: bool) -> None:
    assert (said(matcher, NOON, at=at) is None) == holds


@pytest.mark.parametrize(
    ("matcher", "problem"),
    [
        ({"before": "yesterday"}, '"yesterday" is no time; write one such as 2026-01-31T12:00:00Z'),
        ({"olderThan": "5"}, "'5' is not a duration"),
        ({"semver": "about 3"}, '"about" is no comparison of versions'),
        ({"absent": False}, "is true; of what has to be there say exists: true"),
        ({"anyOf": []}, "needs a list that isn't empty"),
        ({"anyOf": [{"matches": "("}]}, "anyOf.0.matches\n  regular expression '('"),
        ({"exactly": 1, "match": {"gt": "x"}}, 'match.gt\n  "x" is no number'),
    ],
)
def test_a_bad_operand_is_invalid(matcher: Any, problem: str) -> None:
    with pytest.raises(ValueError) as raised:
        Matcher.model_validate(matcher)

    assert problem in str(raised.value)


def test_times_are_not_asked_for_without_need() -> None:
    def never() -> datetime:
        raise AssertionError("nobody needs the time")

    assert Matching(now=never)({"a": 1}, {"a": 1}) == []

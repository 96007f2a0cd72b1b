from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import MISSING, Mismatch

READY = {"type": "Ready", "status": "True"}
CONDITIONS = [{"type": "Synced", "status": "True"}, {"type": "Ready", "status": "False"}]


def said(matcher: Any, value: Any) -> str | None:
    found = Matcher.model_validate(matcher).check(value)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("matcher", "value"),
    [
        (3, 3),
        (3, 3.0),
        ("ok", "ok"),
        (None, None),
        ([1, {"a": None}], [1, {"a": None}]),
        ({"equals": {"gt": 3}}, {"gt": 3}),
        ({"notEquals": 3}, "3"),
        ({"contains": "b"}, "abc"),
        ({"contains": "b"}, ["a", "b"]),
        ({"contains": ["a", "b"]}, ["b", "c", "a"]),
        ({"contains": "b"}, {"b": 1}),
        ({"contains": {"b": {"ge": 1}}}, {"a": 0, "b": 1}),
        ({"contains": {"count": 3}}, {"count": 3, "type": "Normal"}),
        ({"contains": {"type": "Ready"}}, CONDITIONS),
        ({"notContains": "z"}, "abc"),
        ({"notContains": "z"}, ["a"]),
        ({"matches": "^b"}, "a\nb"),
        ({"notMatches": "^b"}, "ab"),
        ({"gt": 0.5}, 1),
        ({"gt": "500m"}, 1),
        ({"lt": "1Gi"}, "1023Mi"),
        ({"ge": "1k", "le": "1000"}, "1e3"),
        ({"lt": "2026-01-02T00:00:00Z"}, "2026-01-01T23:59:59.5Z"),
        ({"gt": "2026-01-01T00:00:00+01:00"}, "2026-01-01T00:00:00Z"),
        ({"in": [1, "a"]}, "a"),
        ({"notIn": [1, "a"]}, "b"),
        ({"count": 2}, [1, 2]),
        ({"count": 0}, []),
        ({"count": 0}, None),
        ({"count": {"lt": 2}}, None),
        ({"none": {"type": "Failed"}}, None),
        ({"atMost": 1, "match": {"type": "Failed"}}, None),
        ({"count": {"ge": 1, "lt": 3}}, {"a": 1}),
        ({"unique": True}, [1, "1", True]),
        ({"unique": False}, [1, 1.0]),
        ({"exists": True}, 0),
        ({"exists": False}, None),
        ({"exists": False}, MISSING),
        ({"all": {"status": {"in": ["True", "False"]}}}, CONDITIONS),
        ({"any": {"type": "Ready"}}, CONDITIONS),
        ({"none": {"type": "Failed"}}, CONDITIONS),
        ({"none": {"type": "Failed"}}, []),
        ({"exactly": 1, "match": {"status": "True"}}, CONDITIONS),
        ({"atLeast": 1, "match": {"status": "True"}}, CONDITIONS),
        ({"atMost": 1, "match": {"status": "True"}}, CONDITIONS),
        ({"containsInOrder": [1, {"gt": 2}]}, [0, 1, 2, 3]),
    ],
)
def test_holds(matcher: Any, value: Any) -> None:
    assert said(matcher, value) is None


@pytest.mark.parametrize(
    ("matcher", "value", "message"),
    [
        (3, 4, "is 4, expected 3"),
        (3, "3", 'is "3", expected 3 (a number, not a string: mind the quotes)'),
        ("true", True, 'is true, expected "true" (a string, not a boolean: mind the quotes)'),
        (1, True, "is true, expected 1"),
        (3, MISSING, "is missing, expected 3"),
        ({"equals": {"a": 1}}, {"a": 1, "b": 2}, 'is {"a": 1, "b": 2}, expected {"a": 1}'),
        ([1], 1, "is 1, expected [1]"),
        ([1], [1, 2], "is [1, 2], expected [1]"),
        ({"equals": {"a": 1}}, [1], 'is [1], expected {"a": 1}'),
        ({"notEquals": 3}, 3, "is 3, expected anything but 3"),
        ({"notEquals": 3}, MISSING, "is missing, expected anything but 3"),
        ({"contains": "z"}, "abc", 'is "abc", expected to contain "z"'),
        ({"contains": "z"}, 5, 'is 5, which contains nothing; expected to contain "z"'),
        ({"contains": {"b": 1}}, {"b": 2}, ".b is 2, expected 1"),
        ({"contains": READY}, CONDITIONS, 'has no element that matches {"type": "Ready", "status": "True"}; nearest: [1].status is "False", expected "True"'),
        ({"notContains": "b"}, "abc", 'is "abc", expected not to contain "b"'),
        ({"notContains": "b"}, None, 'is null, which is neither a string nor a list; expected not to contain "b"'),
        ({"matches": "^b"}, "ab", 'is "ab", expected to match /^b/'),
        ({"matches": "1"}, 1, "is 1, which is no string; expected to match /1/"),
        ({"notMatches": "b"}, "ab", 'is "ab", expected not to match /b/'),
        ({"notMatches": "b"}, MISSING, "is missing, which is no string; expected not to match /b/"),
        ({"gt": 1}, 1, "is 1, expected > 1"),
        ({"lt": 1}, "1500m", 'is "1500m", expected < 1'),
        ({"lt": 1}, True, "is true, which is no number, quantity or time; expected < 1"),
        ({"lt": 1}, MISSING, "is missing, so there is nothing to compare; expected < 1"),
        ({"lt": 1}, "2026-01-01T00:00:00Z", 'is "2026-01-01T00:00:00Z", which can\'t be compared with 1; expected < 1'),
        ({"in": [1, 2]}, 3, "is 3, expected one of [1, 2]"),
        ({"notIn": [1, 2]}, MISSING, "is missing, expected none of [1, 2]"),
        ({"count": 2}, [1], "has 1 element, expected 2 elements"),
        ({"count": {"ge": 2}}, [], "has 0 elements, expected a count ≥ 2"),
        ({"count": 1}, None, "has 0 elements, expected 1 element"),
        ({"count": 0}, MISSING, "is missing, which has no elements to count; expected 0 elements"),
        ({"count": 0}, "", 'is "", which has no elements to count; expected 0 elements'),
        ({"atLeast": 1, "match": 3}, None, "0 of 0 elements match, expected at least 1 elements to match 3"),
        ({"count": 2}, "ab", 'is "ab", which has no elements to count; expected 2 elements'),
        ({"unique": True}, [1, 1], "is [1, 1], expected distinct elements"),
        ({"unique": True}, [], "is [], so there is nothing to check; expected distinct elements"),
        ({"exists": True}, None, "is null, expected a value"),
        ({"exists": False}, 1, "is 1, expected nothing there"),
        ({"all": {"status": "True"}}, CONDITIONS, '[1].status is "False", expected "True"'),
        ({"all": 1}, [], "is empty, so there is nothing to check; expected all elements to match 1"),
        ({"all": 1}, MISSING, "is missing, which is no list; expected all elements to match 1"),
        ({"any": 3}, [], "is empty, expected an element that matches 3"),
        ({"any": {"gt": 3}}, [1, 2], 'has no element that matches {"gt": 3}; nearest: [0] is 1, expected > 3'),
        ({"none": {"type": "Ready"}}, CONDITIONS, '[1] is {"type": "Ready", "status": "False"}, expected no element that matches {"type": "Ready"}'),
        ({"none": 1}, MISSING, "is missing, which is no list; expected no element that matches 1"),
        ({"exactly": 2, "match": READY}, CONDITIONS, '0 of 2 elements match, expected exactly 2 elements to match {"type": "Ready", "status": "True"}'),
        ({"atMost": 0, "match": {"type": "Ready"}}, CONDITIONS, '1 of 2 elements match ([1]), expected at most 0 elements to match {"type": "Ready"}'),
        ({"containsInOrder": [2, 1]}, [1, 2], "has no element that matches 1 after [1], expected elements in the order [2, 1]"),
    ],
)  # fmt: skip
def test_says_what_is_missing(matcher: Any, value: Any, message: str) -> None:
    assert said(matcher, value) == message


def test_a_mismatch_has_its_parts() -> None:
    found = Matcher(all={"gt": 3}).check([4, 2])

    assert found == Mismatch("[1]", "> 3", "2", "is 2, expected > 3")


def test_all_operators_must_hold() -> None:
    assert said({"matches": "^a", "notContains": "z"}, "az") == 'is "az", expected not to contain "z"'


def test_text_that_is_too_long_for_a_regular_expression_is_no_pass() -> None:
    found = Matcher(not_matches="b").check("a" * (1 << 20) + "b")

    assert found is not None
    assert "1048577 characters; a regular expression looks at 1048576 at most" in found.message


@pytest.mark.parametrize(
    ("matcher", "problem"),
    [
        ({}, "a matcher needs at least one operator, such as equals, contains or matches"),
        ({"matches": "("}, "regular expression '(': missing ), unterminated subpattern at position 0"),
        (
            {"matches": "^(a+)+$"},
            "regular expression '^(a+)+$': (a+)+ repeats a repetition and can take forever",
        ),
        ({"matches": "(?:[a-z]*)*"}, "(?:[a-z]*)* repeats a repetition and can take forever"),
        ({"notMatches": "a" * 1001}, "a regular expression has at most 1000 characters, this one has 1001"),
        ({"gt": "big"}, '"big" is no number, quantity or time'),
        ({"in": []}, "needs a list of values that isn't empty"),
        ({"in": "a"}, "needs a list of values that isn't empty"),
        ({"count": -1}, "-1 is no count; write a number, or a comparison as {ge: 2}"),
        ({"count": {"foo": 1}}, '{"foo": 1} is no count'),
        ({"exactly": 1}, "exactly, atLeast and atMost need match"),
        ({"match": 1}, "exactly, atLeast and atMost need match"),
        ({"exactly": 1, "atMost": 2, "match": 1}, "exactly and atMost can't stand together"),
        ({"all": {"x": {"matches": "("}}}, "all.x.matches\n  regular expression '('"),
        ({"containsInOrder": []}, "needs a list that isn't empty"),
        ({"unique": "yes"}, "valid boolean"),
        ({"equal": 3}, "Extra inputs are not permitted"),
        ({"gt": None}, "null is no number, quantity or time"),
    ],
)
def test_a_bad_matcher_is_invalid(matcher: Any, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Matcher.model_validate(matcher)

    assert problem in str(raised.value)


def test_operands_with_expressions_are_checked_later() -> None:
    assert Matcher.model_validate({"gt": "${{ vars.low }}", "count": "${{ vars.n }}"}).operators() == {
        "gt": "${{ vars.low }}",
        "count": "${{ vars.n }}",
    }


def test_repetitions_that_are_no_trap_are_allowed() -> None:
    assert said({"matches": r"^(\w+\.)+svc(:\d+)?$"}, "a.b.svc:80") is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("10.244.1.7", None),
        ("10.245.0.1", 'is "10.245.0.1", expected an address in 10.244.0.0/16'),
        ("web", 'is "web", which is no address; expected an address in 10.244.0.0/16'),
    ],
)
def test_in_cidr_takes_addresses_of_the_network(value: str, said: str | None) -> None:
    found = Matcher.model_validate({"inCIDR": "10.244.0.0/16"}).check(value)

    assert (found.message if found else None) == said


def test_in_cidr_wants_a_network() -> None:
    with pytest.raises(ValueError, match="write a network"):
        Matcher.model_validate({"inCIDR": "10.244.0.1/16"})

from __future__ import annotations

from typing import Any

import pytest

from koalesce.matching.flaws import Flaw
from koalesce.matching.partial import match_members, partial_match, problems

DEPLOYMENT = {
    "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "web"}},
    "spec": {"replicas": 3, "ports": [80, 443]},
    "status": {"conditions": [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "False"}]},
}


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"spec": {"replicas": 3}},
        {"spec": {"replicas": {"gt": 2, "le": 3}}},
        {"spec": {"ports": [80, 443]}},
        {"spec": {"ports": [80, {"gt": 400}]}},
        {"spec": {"ports": {"contains": 443}}},
        {"spec": {"ports": {"all": {"lt": 1000}}}},
        {"spec": {"paused": None}},
        {"spec": {"paused": {"exists": False}}},
        {"spec": {"strategy": {"exists": False}}},
        {"status": {"conditions": {"any": {"type": "Available", "status": "True"}}}},
        {"status": {"conditions": {"exactly": 1, "match": {"status": "False"}}}},
        {"status": {"conditions": {"count": 2}}},
        {"metadata": {"labels": {"app.kubernetes.io/name": {"matches": "^w"}}}},
    ],
)
def test_matches_a_part(expected: dict[str, Any]) -> None:
    assert partial_match(expected, DEPLOYMENT) == []


@pytest.mark.parametrize(
    ("expected", "messages"),
    [
        ({"spec": {"replicas": 2}}, [".spec.replicas is 3, expected 2"]),
        (
            {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}, "spec": {"replicas": 2}},
            ['.metadata.labels[\'app.kubernetes.io/name\'] is "web", expected "x"', ".spec.replicas is 3, expected 2"],
        ),
        ({"spec": {"paused": True}}, [".spec.paused is missing, expected true"]),
        ({"spec": {"paused": {"a": {"b": 1}}}}, ['.spec.paused is missing, expected {"a": {"b": 1}}']),
        ({"spec": {"strategy": {}}}, [".spec.strategy is missing, expected {}"]),
        ({"spec": {"replicas": None}}, [".spec.replicas is 3, expected null"]),
        (
            {"spec": {"ports": [80]}},
            [
                ".spec.ports has 2 elements, expected exactly 1: [80, 443] "
                "(for a part of a list write {contains: …}, {any: …} or {all: …})"
            ],
        ),
        ({"spec": {"ports": [80, 444]}}, [".spec.ports[1] is 443, expected 444"]),
        ({"spec": {"replicas": [3]}}, [".spec.replicas is 3, expected [3]"]),
        ({"spec": {"nope": [3]}}, [".spec.nope is missing, expected [3]"]),
        (
            {"spec": {"replicas": {"gtt": 2}}},
            ['.spec.replicas is 3, expected a map with {"gtt": 2}; did you mean the operator gt?'],
        ),
        (
            {"status": {"conditions": {"any": {"type": "Available", "status": "False"}}}},
            [
                '.status.conditions has no element that matches {"type": "Available", "status": "False"}; '
                'nearest: [0].status is "True", expected "False"'
            ],
        ),
        ({"status": {"conditions": {"all": {"status": "True"}}}}, ['.status.conditions[1].status is "False", expected "True"']),
        ({"status": {"missing": {"all": {"status": "True"}}}}, ['.status.missing is missing, which is no list; expected all elements to match {"status": "True"}']),
    ],
)  # fmt: skip
def test_says_each_difference_with_its_path(expected: dict[str, Any], messages: list[str]) -> None:
    assert [str(mismatch) for mismatch in partial_match(expected, DEPLOYMENT)] == messages


def test_keys_that_are_operators_can_be_matched_literally() -> None:
    event = {"count": 3, "in": "x", "reason": "Pulled"}

    assert partial_match({"count": 3, "reason": "Pulled"}, event) == []
    assert partial_match({"equals": event}, event) == []
    assert partial_match({"contains": {"count": 3, "in": "x"}}, event) == []
    assert match_members({"count": 3}, event) == []
    assert [str(found) for found in match_members({"count": 4}, event)] == [".count is 3, expected 4"]


def test_problems_are_found_at_any_depth() -> None:
    expected = {"a": [{"matches": "("}], "b": {"all": {"x": {"gt": "q"}}}, "c": {"gt": "${{ vars.x }}"}}

    assert problems(expected) == [
        Flaw(("a", 0, "matches"), "regular expression '(': missing ), unterminated subpattern at position 0"),
        Flaw(("b", "all", "x", "gt"), '"q" is no number, quantity or time'),
    ]

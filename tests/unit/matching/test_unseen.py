"""That none of several things is like a pattern, where none of them has anything of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from koalesce.kube import builtin
from koalesce.matching.partial import Matching, partial_match

PEERS = [{"name": "a", "state": {"phase": "up"}}, {"name": "b", "state": {"phase": "down"}, "error": "gone"}]


@pytest.mark.parametrize(
    ("expected", "lacking"),
    [
        ({"none": {"name": "c"}}, None),
        ({"none": {"nmae": "a"}}, ".nmae"),
        ({"none": {"state": {"phase": "lost"}}}, None),
        ({"none": {"state": {"phsae": "down"}}}, ".state.phsae"),
        ({"none": {"name": "c", "age": 3}}, None),
        ({"none": {"eror": {"matches": "."}}}, ".eror"),
        ({"none": {"age": {"exists": True}}}, None),
        ({"none": {"name": None}}, None),
        ({"none": {"nmae": {"gt": 3}}}, ".nmae"),
        ({"none": "x"}, None),
        ({"exactly": 0, "match": {"nmae": "a"}}, ".nmae"),
        ({"atMost": 1, "match": {"nmae": "a"}}, ".nmae"),
        ({"exactly": 0, "match": {"name": "c"}}, None),
        ({"atMost": 1, "match": {"name": "a"}}, None),
    ],
)
def test_a_pattern_of_which_no_element_has_anything_shows_nothing(expected: Any, lacking: str | None) -> None:
    found = partial_match({"peers": expected}, {"peers": PEERS})

    said = (
        f"none of 2 elements has {lacking}, so that none matches proves nothing; say mayNotExist: true if that is meant"
    )
    assert [str(one) for one in found] == ([f".peers {said}"] if lacking else [])
    assert not replace(partial_match, may_not_exist=True)({"peers": expected}, {"peers": PEERS})


def test_of_no_elements_none_matches() -> None:
    assert not partial_match({"none": {"nmae": "a"}}, [])


def test_a_field_of_a_kind_that_is_known_needs_no_element_that_has_it() -> None:
    pod = {"spec": {"containers": [{"name": "a"}]}}
    match = Matching(builtin.shape_of("v1", "Pod"), is_object=True)

    def none(pattern: Any) -> bool:
        return not match.members({"spec": {"containers": {"none": pattern}}}, pod)

    assert none({"securityContext": {"privileged": True}})
    assert not none({"securityContext": {"privilegde": True}})

"""Matchers of numbers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from koalesce.matching.matcher import Matcher
from koalesce.matching.numbers import NumberMatcher

ADAPTER: TypeAdapter[Matcher] = TypeAdapter(NumberMatcher)


@pytest.mark.parametrize(
    "written",
    [
        200,
        1.5,
        {"in": [200, 204]},
        {"notEquals": 0},
        {"lt": "64Mi"},
        {"anyOf": [0, {"gt": 5}]},
        {"equals": "${{ vars.x }}"},
    ],
)
def test_takes_what_can_hold(written: Any) -> None:
    assert ADAPTER.validate_python(written) == Matcher.model_validate(written)


@pytest.mark.parametrize(
    ("written", "where", "said"),
    [
        ("200", ("equals",), 'the string "200" can\'t match here: this is a number'),
        (True, ("equals",), "the boolean true can't match here: this is a number"),
        ([200], ("equals",), "the list [200] can't match here: this is a number; did you mean {in: [200]}?"),
        ({"notEquals": "0"}, ("notEquals",), 'the string "0" can\'t match here: this is a number'),
        ({"in": [1, "2"]}, ("in", 1), 'the string "2" can\'t match here: this is a number'),
        (
            {"allOf": [{"gt": 1}, {"in": ["2"]}]},
            ("allOf", 1, "in", 0),
            'the string "2" can\'t match here: this is a number',
        ),
        ({"matches": "^2"}, ("matches",), "matches can't hold here: this is a number"),
    ],
)
def test_refuses_what_never_holds_or_always_does(written: Any, where: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(written)

    assert [(each["loc"], str(each["ctx"]["error"])) for each in caught.value.errors()] == [(where, said)]

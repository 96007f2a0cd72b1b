"""`if`, and what may stand beside a step's type."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.spec.conditions import Condition, version_fits
from koalesce.spec.fields import Foreach, Output


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("1.37.2", ">=1.36", True),
        ("1.37.2", ">=1.37", True),
        ("1.37.2", ">1.37", False),
        ("1.37.2", "<=1.37", True),
        ("1.37.2", "1.37", True),
        ("1.37.2", "=1.37.3", False),
        ("1.37.2", "!=1.37", False),
        ("1.37.2", ">=1.34 <1.37", False),
        ("1.36.0", ">=1.34, <1.37", True),
        ("v1.9.0", "<1.10", True),
        ("1.37.2+k", ">= v1.37.2", True),
        ("1.37.0-rc.1", "1.37", True),
        ("v1.34.4-gke.1000", ">=1.34.4", True),
    ],
)
def test_versions_are_compared_as_exactly_as_they_are_written(version: str, wanted: str, fits: bool) -> None:
    assert version_fits(version, wanted) is fits


def test_all_that_a_condition_says_must_hold() -> None:
    condition = Condition.model_validate({"version": ">=1.37", "capability": "ipvs", "value": 3, "gt": 2})

    def unmet(version: str = "1.37.2", capabilities: tuple[str, ...] = ("ipvs",)) -> str | None:
        return condition.unmet(version=version, capabilities=capabilities)

    assert unmet() is None
    assert unmet(version="1.34.4") == "needs Kubernetes >=1.37, this is 1.34.4"
    assert unmet(capabilities=()) == "needs the capability ipvs"


def test_a_value_must_fit_its_matcher() -> None:
    condition = Condition.model_validate({"value": "b", "in": ["a", "c"]})

    reason = condition.unmet(version="1.37.2", capabilities=())

    assert reason is not None
    assert reason.startswith("if: ")


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"value": 5},
        {"equals": 5},
        {"version": "new"},
        {"version": ">>1"},
        {"value": 1, "equal": 1},
        {"version": ""},
    ],
)
def test_a_condition_that_asks_nothing_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Condition.model_validate(written)


@pytest.mark.parametrize(
    ("output", "value", "expected"),
    [
        ({"jsonpath": "{.a.b}"}, {"a": {"b": 5}}, 5),
        ({"jsonpath": "{.a[*].b}"}, {"a": [{"b": 1}]}, [1]),
        ({"jsonpath": "{.a[0].b}"}, {"a": [{"b": 1}]}, 1),
        ({"regex": "uid=(\\d+)"}, {"stdout": "uid=0(root)", "exitCode": 0}, "0"),
        ({"regex": "b.."}, {"body": "abcd"}, "bcd"),
        ({"regex": "^c$"}, "a\nc\n", "c"),
        ({"regex": '"b": 5'}, {"b": 5}, '"b": 5'),
    ],
)
def test_outputs_are_read_from_what_a_step_saw(output: dict[str, str], value: Any, expected: Any) -> None:
    assert Output.model_validate(output).read(value) == expected


@pytest.mark.parametrize("output", [{"jsonpath": "{.x}"}, {"regex": "x"}])
def test_an_output_that_hits_nothing_is_an_error(output: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="hit nothing"):
        Output.model_validate(output).read({"a": 1})


@pytest.mark.parametrize("output", [{}, {"jsonpath": "{.a}", "regex": "a"}, {"regex": "("}, {"jsonpath": "{.a["}])
def test_an_output_is_read_in_exactly_one_way(output: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Output.model_validate(output)


def test_foreach_takes_a_list_or_an_expression() -> None:
    assert Foreach.model_validate({"item": "n", "in": ["a"]}).in_ == ["a"]
    assert Foreach.model_validate({"item": "n", "in": "${{ nodes }}"}).in_ == "${{ nodes }}"
    with pytest.raises(ValidationError, match="takes a list, or an expression"):
        Foreach.model_validate({"item": "n", "in": "nodes"})

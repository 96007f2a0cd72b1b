from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from koalesce.matching.diff import render, unified
from koalesce.matching.mismatch import MISSING, member
from koalesce.matching.quantity import ordered, quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", Fraction(1)),
        ("500m", Fraction(1, 2)),
        ("64Mi", Fraction(64 * 1024 * 1024)),
        ("1.5Gi", Fraction(3 * 512 * 1024 * 1024)),
        ("2k", Fraction(2000)),
        ("12E", Fraction(12 * 10**18)),
        ("12e3", Fraction(12000)),
        ("1E-2", Fraction(1, 100)),
        ("-1", Fraction(-1)),
        (".5", Fraction(1, 2)),
        ("100n", Fraction(1, 10**7)),
        ("", None),
        ("abc", None),
        ("30s", None),
        ("1 Mi", None),
        ("1" * 41, None),
        ("1e9999", None),
    ],
)
def test_quantities_are_exact_numbers(text: str, number: Fraction | None) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("value", [None, True, [], {}, "soon", "2026-13-01T00:00:00Z", float("nan"), float("inf")])
def test_what_has_no_order_is_none(value: Any) -> None:
    assert ordered(value) is None


def test_values_are_short() -> None:
    assert render({"a": [1, "x", None]}) == '{"a": [1, "x", null]}'
    assert render(MISSING) == "missing"
    assert render("x" * 300, width=10) == '"xxxxxxxx… (302 characters)'


def test_diffs_show_what_differs() -> None:
    assert unified({"b": 1, "a": 2}, {"a": 2, "b": 3}).splitlines() == [
        "--- expected",
        "+++ actual",
        "@@ -1,4 +1,4 @@",
        " {",
        '   "a": 2,',
        '-  "b": 1',
        '+  "b": 3',
        " }",
    ]
    assert unified("a\nb", "a\nb") == ""


def test_long_diffs_end() -> None:
    lines = unified(list(range(200)), []).splitlines()

    assert len(lines) == 81
    assert lines[-1].startswith("… and ")


def test_paths_quote_what_needs_it() -> None:
    assert member(member(member("", "labels"), "app.kubernetes.io/name"), 0) == ".labels['app.kubernetes.io/name'][0]"

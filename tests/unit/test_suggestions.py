"""Words that are nearly known."""

from __future__ import annotations

import pytest

from koalesce.suggestions import closest


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("tsets", ["setup", "tests"], "tests"),
        ("conditon", ["condition", "rollout"], "condition"),
        ("WaitFor", ["wait-for", "sleep"], "wait-for"),
        ("pod_cidr", ["podCIDR"], "podCIDR"),
        ("versoin", ["version", "value"], "version"),
        ("namespaces", ["name", "namespace"], "namespace"),
        ("ipvsx", ["iptables", "ipvs"], "ipvs"),
        ("x", ["a", "b"], None),
        ("podSecurity", ["labels", "steps"], None),
        ("anything", [], None),
    ],
)
def test_finds_what_was_meant(word: str, known: list[str], expected: str | None) -> None:
    assert closest(word, known) == expected

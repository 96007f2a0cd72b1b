from __future__ import annotations

from koalesce.merging import merged


def test_maps_are_merged_and_all_else_is_replaced() -> None:
    below = {"a": 1, "map": {"b": [1, 2], "c": {"d": 1}}, "only": 1}

    assert merged(below, {"a": None, "map": {"b": [3], "c": {"e": 2}}}) == {
        "a": None, "map": {"b": [3], "c": {"d": 1, "e": 2}}, "only": 1,
    }  # fmt: skip
    assert below["map"] == {"b": [1, 2], "c": {"d": 1}}


def test_a_map_and_something_else_are_not_merged() -> None:
    assert merged({"a": {"b": 1}}, {"a": 5}) == {"a": 5}
    assert merged({"a": 5}, {"a": {"b": 1}}) == {"a": {"b": 1}}

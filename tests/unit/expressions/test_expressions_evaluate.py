"""What expressions give."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.expressions import ExpressionError, resolve

SCOPE: dict[str, Any] = {
    "vars": {"version": "v1", "count": 3, "on": True, "nothing": None, "list": ["a", "b"], "map": {"k": "ä"}},
    "nodes": [
        {"name": "control-plane", "address": "10.0.0.1", "taints": ["x", "y"]},
        {"name": "worker-1", "address": "10.0.0.2", "taints": ["z"]},
    ],
    "outputs": {"a": {"b": [10, 20]}},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${{ vars.count }}", 3),
        ("${{ vars.on }}", True),
        ("${{ vars.nothing }}", None),
        ("${{ vars.list }}", ["a", "b"]),
        ("image:${{ vars.version }}", "image:v1"),
        ("${{ vars.count }}/${{ vars.on }}", "3/true"),
        ("list ${{ vars.list }} map ${{ vars.map }}", 'list ["a", "b"] map {"k": "ä"}'),
        ("${{ nodes['worker-1'].address }}", "10.0.0.2"),
        ("${{ nodes[0].name }}", "control-plane"),
        ("${{ nodes[-1].name }}", "worker-1"),
        ("${{ nodes[*].address }}", ["10.0.0.1", "10.0.0.2"]),
        ("${{ nodes[*].taints[*] }}", ["x", "y", "z"]),
        ("${{ outputs.a['b'][1] }}", 20),
        ("${{ vars.map[*] }}", ["ä"]),
        ("$${{ vars.version }}", "${{ vars.version }}"),
        ("a $${{ x }} ${{ vars.version }}", "a ${{ x }} v1"),
        ("no expression", "no expression"),
    ],
)
def test_resolves(text: str, expected: Any) -> None:
    assert resolve(text, SCOPE) == expected


def test_resolves_in_depth_and_leaves_the_original_alone() -> None:
    value = {"a": ["${{ vars.count }}", {"b": "${{ vars.version }}"}], "c": 5}

    assert resolve(value, SCOPE) == {"a": [3, {"b": "v1"}], "c": 5}
    assert value == {"a": ["${{ vars.count }}", {"b": "${{ vars.version }}"}], "c": 5}


def test_a_value_is_not_resolved_again() -> None:
    assert resolve("${{ vars.x }}", {"vars": {"x": "${{ vars.y }}"}}) == "${{ vars.y }}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${{ vars.versoin }}", "vars.versoin: vars has no 'versoin'; did you mean \"version\"?"),
        ("${{ var.version }}", 'var.version: no such name here; did you mean "vars"?'),
        ("${{ nodes[2].name }}", "nodes[2].name: nodes has 2 item(s), so there is no [2]"),
        (
            "${{ nodes['worker-2'].name }}",
            "nodes['worker-2'].name: nodes is a list without an item named 'worker-2'; did you mean \"worker-1\"?",
        ),
        ("${{ vars.count.x }}", "vars.count.x: vars.count is a number and has no 'x'"),
        ("${{ vars.version[*] }}", "vars.version[*]: vars.version is a text, not a list"),
        ("a ${{ vars.nothing }}", "vars.nothing is null, which can't stand inside of a text"),
        ("${{ vars.version", "${{ without }}; write $${{ for the characters themselves"),
    ],
)
def test_says_where_a_path_ends_nowhere(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        resolve(text, SCOPE)

    assert str(caught.value) == message


def test_paths_lead_through_data_only() -> None:
    class Trap:
        secret = "s"

    with pytest.raises(ExpressionError):
        resolve("${{ vars.trap.secret }}", {"vars": {"trap": Trap()}})
    with pytest.raises(ExpressionError):
        resolve("${{ vars.version.__class__ }}", SCOPE)

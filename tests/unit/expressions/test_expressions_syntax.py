"""Where expressions stand, and what counts as one."""

from __future__ import annotations

import pytest

from koalesce.expressions import (
    EVERY,
    Expression,
    SyntaxProblem,
    cel,
    check,
    find_expressions,
    has_expression,
    parse,
    whole,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vars.version", Expression("vars.version", "vars", ("version",))),
        (" nodes[0].podCIDR ", Expression("nodes[0].podCIDR", "nodes", (0, "podCIDR"))),
        ("nodes['worker-1'].address", Expression("nodes['worker-1'].address", "nodes", ("worker-1", "address"))),
        ('vars["a.b/c"]', Expression('vars["a.b/c"]', "vars", ("a.b/c",))),
        ("nodes[*].address", Expression("nodes[*].address", "nodes", (EVERY, "address"))),
        ("setup.outputs.my-token", Expression("setup.outputs.my-token", "setup", ("outputs", "my-token"))),
        ("items[-1]", Expression("items[-1]", "items", (-1,))),
    ],
)
def test_reads_paths(text: str, expected: Expression) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "1 + 1", "vars.", "vars..x", "nodes[", "nodes[x]", "a b", "f()", "vars.x | upper", "a.__b__()", "'x'"]
)
def test_refuses_what_is_no_path(text: str) -> None:
    with pytest.raises(SyntaxProblem):
        parse(text)


def test_finds_expressions_in_nested_values() -> None:
    value = {"a": ["x ${{ vars.a }} y ${{vars.b}}", 5], "b": {"c": "${{ nodes['}}'].name }}"}, "d": "$${{ not.this }}"}

    assert find_expressions(value) == ["vars.a", "vars.b", "nodes['}}'].name"]


def test_an_expression_needs_its_end() -> None:
    with pytest.raises(SyntaxProblem) as caught:
        find_expressions("a ${{ vars.a")

    assert str(caught.value) == "${{ without }}; write $${{ for the characters themselves"


def test_an_escaped_expression_still_has_to_be_resolved() -> None:
    assert has_expression({"a": ["$${{ x }}"]})
    assert not has_expression({"a": ["${ x }", 5, None]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${{ vars.a }}", "vars.a"),
        ("  ${{vars.a}} ", "vars.a"),
        ("x${{ vars.a }}", None),
        ("${{ a }}${{ b }}", None),
        ("$${{ a }}", None),
        ("a", None),
    ],
)
def test_knows_an_expression_that_is_the_whole_text(text: str, expected: str | None) -> None:
    assert whole(text) == expected


def test_checks_the_root_name_and_suggests_another() -> None:
    names = {"vars", "nodes", "cluster"}

    assert check("vars.anything", names) is None
    assert check("node.name", names) == 'node: no such name here; did you mean "nodes"?'
    assert check("zzz", names) == "zzz: no such name here; there are: cluster, nodes, vars"
    assert check("vars +", names) == "vars +: Syntax error: mismatched input '<EOF>', at character 7"


def test_without_cel_all_that_is_no_path_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cel, "is_installed", lambda: False)

    assert check("vars +", {"vars"}) == (
        "${{ vars + }}: can't read ' +'; an expression is a path, such as vars.version, nodes[0].address, "
        "nodes['worker-1'].address or nodes[*].address; anything else is CEL, which needs an extra: pip install 'koalesce[cel]'"
    )

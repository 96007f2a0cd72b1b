"""CEL: what it gives, and that nothing which goes wrong in it is ever a result."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.expressions import ExpressionError, cel, check, evaluate, resolve
from koalesce.spec.fields import Output

POD = {
    "metadata": {"name": "web"},
    "spec": {"replicas": 3},
    "status": {
        "readyReplicas": 3,
        "podIP": "10.244.1.7",
        "memory": "512Mi",
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def of(text: str) -> Any:
    return cel.compiled(text, ("self",)).evaluate({"self": POD})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("self.status.readyReplicas == self.spec.replicas", True),
        ("self.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')", True),
        ("self.status.conditions.map(c, c.type)", ["Ready"]),
        ("has(self.status.phase)", False),
        ("self.?status.?phase.orValue('none')", "none"),
        ("quantity(self.status.memory) < quantity('1Gi')", True),
        ("quantity('500m') < 1", True),
        ("quantity('1').isLessThan(quantity('2k'))", True),
        ("cidr('10.244.0.0/16').containsIP(self.status.podIP)", True),
        ("ip(self.status.podIP).family() == 4 && !isIP('10.1')", True),
        ("semver('v1.9.0').isLessThan(semver('1.10.0'))", True),
        ("semver('1.2.3').compareTo(semver('1.2.3'))", 0),
        ("string(duration('90s'))", "90s"),
    ],
)
def test_what_an_expression_gives(text: str, value: Any) -> None:
    assert of(text) == value


@pytest.mark.parametrize(
    ("text", "message", "is_absent"),
    [
        ("self.status.phase == 'Running'", 'there is no "phase"', True),
        ("self.status.conditions[3].type", "Index error: index=3 size=1", True),
        ("self.status.readyReplicas + 'x' == 'x'", "No matching overloads found : _+_(int64, string)", False),
        ("quantity('much') < 1", "'much' is no quantity", False),
        ("self.spec.replicas / 0", "divide by zero", False),
        ("duration('1s')", "gives a duration, which no spec can hold: make a text of it by string(…)", False),
    ],
)
def test_what_goes_wrong_is_no_result(text: str, message: str, is_absent: bool) -> None:
    if text.startswith("self.status.ready"):
        text = text.replace(" + 'x'", " + self.metadata.name")
    with pytest.raises(cel.CelFailed) as failed:
        of(text)

    assert (str(failed.value), failed.value.is_absent) == (message, is_absent)


def test_neither_true_nor_false_is_no_condition() -> None:
    with pytest.raises(cel.CelFailed, match="gives a number, and must give true or false"):
        cel.compiled("self.spec.replicas", ("self",)).holds({"self": POD})
    with pytest.raises(cel.CelInvalid, match="gives a text, and must give true or false"):
        cel.check_condition("string(self.spec.replicas)", ("self",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("self.a ==", "Syntax error: mismatched input '<EOF>', at character 10"),
        ("selv == 1", "undeclared reference to 'selv', at character 1"),
        ("self.a +\n  nope(1)", "undeclared reference to 'nope', at line 2, character 7"),
    ],
)
def test_what_is_no_cel_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(cel.CelInvalid) as invalid:
        cel.compiled(text, ("self",))

    assert str(invalid.value) == message


def test_names_that_an_expression_takes_from_outside() -> None:
    text = "outputs.n + vars['x'] == size(nodes) && nodes.all(n, n.address != 'no.name') && setup.outputs.ip in {'k': env.X}"

    assert cel.references(text) == [
        ("outputs", "n"), ("vars", None), ("nodes", None), ("nodes", None), ("n", None), ("n", "address"),
        ("setup", "outputs"), ("env", "X"),
    ]  # fmt: skip


def test_a_path_stays_a_path_and_all_else_is_cel() -> None:
    scope = {"outputs": {"count-1": "a path", "count": 3}, "nodes": [{"name": "a"}, {"name": "b"}]}

    assert evaluate("outputs.count-1", scope) == "a path"
    assert evaluate("outputs.count - 1", scope) == 2
    assert resolve("${{ size(nodes) > 1 }}", scope) is True
    assert resolve("n=${{ nodes.map(n, n.name) }}", scope) == 'n=["a", "b"]'


def test_an_expression_that_fails_is_an_error_with_its_text() -> None:
    with pytest.raises(ExpressionError) as failed:
        evaluate("outputs.nope + 1", {"outputs": {}})

    assert failed.value.message == 'outputs.nope + 1: there is no "nope"'
    assert check("outputs.n +", ["outputs"]) == "outputs.n +: Syntax error: mismatched input '<EOF>', at character 12"
    assert check("output.n + 1", ["outputs"]) == "output.n + 1: undeclared reference to 'output.n', at character 7"


def test_without_the_extra_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cel, "is_installed", lambda: False)

    assert (check("outputs.n + 1", ["outputs"]) or "").endswith(
        "anything else is CEL, which needs an extra: pip install 'koalesce[cel]'"
    )
    with pytest.raises(ValueError, match=r"CEL needs an extra: pip install 'koalesce\[cel\]'"):
        Output(cel="self.x")


def test_outputs_by_cel() -> None:
    assert Output(cel="self.status.conditions.size()").read(POD) == 1
    with pytest.raises(ValueError, match=r'cel self.nope: there is no "nope"'):
        Output(cel="self.nope").read(POD)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ vars.a-1 }}", "a name"),
        ("${{ vars.a - 1 }}", 2),
        ("${{ vars['a'] - 1 }}", 2),
        ("${{ {'a': {'b': vars.a} }.a.b }}", 3),
        ("${{ 'x}}' + \"'\" }}", "x}}'"),
    ],
)
def test_where_paths_and_braces_meet_cel(text: str, value: Any) -> None:
    assert resolve(text, {"vars": {"a": 3, "a-1": "a name"}}) == value


@pytest.mark.parametrize("text", ["${{ {'a': {'b': 1}}.a.b }}", r"${{ 'it\'s }} here' }}"])
def test_the_first_braces_outside_of_quotes_end_an_expression(text: str) -> None:
    with pytest.raises(ExpressionError, match="Syntax error"):
        resolve(text, {"vars": {}})

"""`assert` with an expression of CEL: true passes, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Errored, Failed, Passed
from tests.fakes import FakeCluster, context, made, step


def deployment(name: str = "web", **status: Any) -> dict[str, Any]:
    return made("Deployment", name, api="apps/v1", spec={"replicas": 3}, status=status)


def attempt(text: str, *objects: dict[str, Any]) -> Any:
    return step(f"assert: {text}").attempt(context(FakeCluster(*objects)))


EQUAL = "self.status.readyReplicas == self.spec.replicas"


def test_passes_where_it_is_true() -> None:
    outcome = attempt(f"{{resource: deployment/web, cel: {EQUAL}}}", deployment(readyReplicas=3))

    assert isinstance(outcome, Passed)
    assert outcome.message == f"deployment/web: {EQUAL}"
    assert outcome.value["status"] == {"readyReplicas": 3}


def test_fails_where_it_is_false_and_may_yet_hold() -> None:
    outcome = attempt(f"{{resource: deployment/web, cel: {EQUAL}}}", deployment(readyReplicas=2))

    assert outcome == Failed(f"deployment/web: {EQUAL} is false", "true", "false")


def test_a_key_that_is_not_there_is_not_yet() -> None:
    outcome = attempt(f"{{resource: deployment/web, cel: {EQUAL}}}", deployment())

    said = f'deployment/web: {EQUAL}: there is no "readyReplicas"'
    assert outcome == Failed(said, "true", "missing", saw_nothing=True)


def test_an_error_of_types_is_final_and_never_counts_as_absent() -> None:
    text = "self.spec.replicas.startsWith('x')"
    found = deployment()
    said = f"deployment/web: {text}: No matching overloads found : (int64).startsWith(string)"

    assert attempt(f'{{resource: deployment/web, cel: "{text}"}}', found) == Errored(said, final=True)
    assert attempt(f'{{resource: deployments, cel: "{text}", count: 0}}', found) == Errored(said, final=True)


def test_what_is_neither_true_nor_false_is_an_error() -> None:
    outcome = attempt("{resource: deployment/web, cel: self.spec.replicas}", deployment())

    said = "deployment/web: self.spec.replicas: gives a number, and must give true or false"
    assert outcome == Errored(said, final=True)


def test_both_match_and_cel_have_to_hold() -> None:
    text = f"{{resource: deployment/web, match: {{spec: {{replicas: 4}}}}, cel: {EQUAL}}}"

    assert isinstance(attempt(text, deployment(readyReplicas=3)), Failed)


def test_as_many_as_are_wanted() -> None:
    objects = [deployment("a", readyReplicas=3), deployment("b", readyReplicas=2)]

    assert isinstance(attempt(f"{{resource: deployments, cel: {EQUAL}, count: 1}}", *objects), Passed)
    assert isinstance(attempt(f"{{resource: deployments, cel: {EQUAL}, all: true}}", *objects), Failed)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("self.status.x ==", "Syntax error: mismatched input '<EOF>', at character 17"),
        ("slef == 1", "undeclared reference to 'slef', at character 1"),
        ("self.a + 1 > 0 ? 'a' : 'b'", "gives a text, and must give true or false"),
    ],
)
def test_what_can_not_be_is_invalid(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(f'assert: {{resource: deployment/web, cel: "{text}"}}')

    assert problem in str(raised.value)

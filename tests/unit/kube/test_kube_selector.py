from __future__ import annotations

import pytest

from koalesce.errors import UsageError
from koalesce.kube.selector import parse

LABELS = {"app": "web", "tier": "a", "example.com/part": "x-1", "empty": ""}


@pytest.mark.parametrize(
    "selector",
    [
        "", "app=web", "app==web", "app = web", "app!=db", "missing!=db", "app=web,tier=a", "app in (web,db)",
        "tier notin (b, c)", "missing notin (b)", "app", "!missing", "example.com/part=x-1", "app in (web), !missing",
        "empty=", "app in (web,db),tier in (a)",
    ],
)  # fmt: skip
def test_takes_what_kubectl_takes(selector: str) -> None:
    assert parse(selector)(LABELS)


@pytest.mark.parametrize(
    "selector", ["app=db", "app!=web", "app=web,tier=b", "app in (db)", "tier notin (a)", "missing", "!app", "missing="]
)
def test_leaves_what_kubectl_leaves(selector: str) -> None:
    assert not parse(selector)(LABELS)


@pytest.mark.parametrize("selector", ["app=web tier=a", "app in web", "=web", "app=,,", "a b", "app in (a", "-x=1"])
def test_says_what_it_cannot_read(selector: str) -> None:
    with pytest.raises(UsageError, match="is not a label selector"):
        parse(selector)

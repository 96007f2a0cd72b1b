"""Names of clusters."""

from __future__ import annotations

import pytest

from koalesce.errors import UsageError
from koalesce.providers.naming import PATTERN, check_name, cluster_name


@pytest.mark.parametrize(
    ("spec", "run_id", "name"),
    [
        ("kube-router", "20261122-180102-a1b2c", "kube-router-a1b2c"),
        ("a-spec-with-a-very-long-name", "20261122-180102-a1b2c", "a-spec-with-a-a1b2c"),
        ("thirteen-char-", "a1b2c", "thirteen-char-a1b2c"),
        ("Über Spec!", "a1b2c", "ber-spec-a1b2c"),
        ("1.37", "a1b2c", "c-1-37-a1b2c"),
        ("日本", "a1b2c", "c-a1b2c"),
        ("a", "", "a-0"),
    ],
)
def test_a_cluster_is_named_after_spec_and_run(spec: str, run_id: str, name: str) -> None:
    assert cluster_name(spec, run_id) == name
    assert PATTERN.fullmatch(name)
    assert len(name) <= 20


@pytest.mark.parametrize("name", ["", "a", "A1", "1a", "a-", "a_b", "a" * 21, "a\n", "../a"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="can't be the name of a cluster"):
        check_name(name)


@pytest.mark.parametrize("name", ["a1", "kube-router-a1b2c", "a" * 20])
def test_what_is_a_name_passes(name: str) -> None:
    check_name(name)

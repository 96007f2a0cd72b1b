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


@pytest.mark.parametrize(
    ("part", "name"),
    [("east", "kube-rout-east-a1b2c"), ("1.34", "kube-rout-1-34-a1b2c"), ("nftables", "kube-nftables-a1b2c")],
)
def test_several_clusters_of_a_spec_are_told_apart(part: str, name: str) -> None:
    found = cluster_name("kube-router", "20261122-180102-a1b2c", part)

    assert found == name
    check_name(found)


def test_a_part_that_is_too_long_still_makes_names_apart() -> None:
    one, other = (cluster_name("kube-router", "a1b2c", f"1.34-iptables-{ip}") for ip in ("v4", "v6"))

    assert one != other
    check_name(one)

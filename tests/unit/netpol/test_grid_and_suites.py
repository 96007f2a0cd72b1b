"""The grid, what policies are written with, and the libraries of cases."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from koalesce.netpol import generated, upstream
from koalesce.netpol.cases import Case, labels, named, policy, tagged, term
from koalesce.netpol.grid import NAME_LABEL, Grid, Place, addressed, labels_of, translated
from koalesce.netpol.policy import Policy, parse
from koalesce.netpol.simulator import Flow, NamedPort, Pod, World

NAMES = {"x": "x-test-1", "y": "y-test-1", "z": "z-test-1"}
GRID = Grid(protocols=("TCP", "UDP"))
ADDRESSES = {str(place): (f"10.1.2.{index}", f"fd00::{index}") for index, place in enumerate(GRID.places(), 1)}


def test_a_grid_has_all_pods_of_all_namespaces_and_names_for_their_ports() -> None:
    assert [str(each) for each in Grid(namespaces=("x", "y"), pods=("a", "b")).places()] == ["x/a", "x/b", "y/a", "y/b"]
    assert list(GRID.serves()) == [("TCP", 80), ("TCP", 81), ("UDP", 80), ("UDP", 81)]
    assert Grid().named_ports(Place("x", "a")) == (
        NamedPort("serve-80-tcp", 80), NamedPort("serve-81-tcp", 81), NamedPort("main", 80),
    )  # fmt: skip
    assert NamedPort("main", 81) in Grid().named_ports(Place("x", "c"))


def test_the_cluster_is_told_its_own_names_of_namespaces() -> None:
    by_name = {"namespaceSelector": {"matchLabels": {NAME_LABEL: "y"}}}
    by_term = {"namespaceSelector": term(NAME_LABEL, "NotIn", "x", "elsewhere")}
    by_label = {"namespaceSelector": labels(ns="x")}

    told = translated(policy("x", "web", ingress=[{"from": [by_name, by_term, by_label]}]), NAMES)

    assert told["metadata"] == {"name": "web", "namespace": "x-test-1"}
    assert told["spec"]["ingress"][0]["from"] == [
        {"namespaceSelector": {"matchLabels": {NAME_LABEL: "y-test-1"}}},
        {"namespaceSelector": term(NAME_LABEL, "NotIn", "x-test-1", "elsewhere")},
        by_label,
    ]


def test_pods_in_blocks_are_their_addresses() -> None:
    peers = [
        {"ipBlock": {"cidr": "x/b"}},
        {"ipBlock": {"cidr": "x/b/24", "except": ["x/b"]}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
        {"podSelector": {}},
    ]

    told = addressed(policy("x", "web", ingress=[{"ports": []}], egress=[{"to": peers}]), ADDRESSES)

    assert told["spec"]["egress"] == [
        {
            "to": [
                {"ipBlock": {"cidr": "10.1.2.2/32"}},
                {"ipBlock": {"cidr": "fd00::2/128"}},
                {"ipBlock": {"cidr": "10.1.2.0/24", "except": ["10.1.2.2/32"]}},
                {"ipBlock": {"cidr": "10.0.0.0/8"}},
                {"podSelector": {}},
            ]
        }
    ]


def test_a_pod_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="x/d/24 is neither a range of addresses nor a pod of the grid"):
        addressed(policy("x", "web", egress=[{"to": [{"ipBlock": {"cidr": "x/d/24"}}]}]), ADDRESSES)


def test_labels_change() -> None:
    assert labels_of({"a": "1", "b": "2"}, {"a": None, "c": "3"}) == {"b": "2", "c": "3"}


def test_tags_choose_and_leave_out() -> None:
    cases = [
        Case(name=name, changes=(), tags=frozenset(tags.split()))
        for name, tags in (("1", "a b"), ("2", "b"), ("3", "c"))
    ]

    def chosen(*tags: str) -> list[str]:
        return [case.name for case in tagged(cases, tags)]

    assert chosen() == ["1", "2", "3"]
    assert chosen("a", "c") == ["1", "3"]
    assert chosen("-a") == ["2", "3"]
    assert chosen("b", "-a") == ["2"]


def all_policies(cases: Sequence[Case]) -> list[dict[str, object]]:
    return [dict(each) for case in cases for change in case.changes for each in change.apply]


@pytest.mark.parametrize(
    "cases", [upstream.cases(), list(generated.cases(GRID, seed=1, count=300))], ids=["upstream", "generated"]
)
def test_every_policy_of_a_suite_is_one_of_the_grid(cases: list[Case]) -> None:
    assert len({case.name for case in cases}) == len(cases)
    for each in all_policies(cases):
        assert parse(addressed(each, ADDRESSES)).namespace in GRID.namespaces


def test_upstreams_cases_are_all_there_with_tags() -> None:
    cases = upstream.cases()

    assert len(cases) == 47
    assert [case.name for case in cases if not case.tags & {"ingress", "egress"}] == []


def test_generated_cases_come_again_from_their_seed_however_many_there_are() -> None:
    one, more = (list(generated.cases(GRID, seed=7, count=count)) for count in (5, 10))

    assert more[:5] == one
    assert list(generated.cases(GRID, seed=8, count=5)) != one


def test_generated_cases_have_every_tag_that_there_is_and_no_other() -> None:
    found = {tag for case in generated.cases(GRID, seed=1, count=300) for tag in case.tags}

    assert found == set(generated.TAGS)


def blocked(case: Case) -> list[tuple[int, int]]:
    """After each change of a case, how many of the 81 pairs are kept apart, over TCP on 80 and on 81."""
    own = {str(each): GRID.pod_labels(each) for each in GRID.places()}
    namespaces = {each: GRID.namespace_labels(each) for each in GRID.namespaces}
    policies: dict[str, Policy] = {}
    counts = []
    for change in case.changes:
        for gone in change.delete:
            del policies[gone]
        policies |= {named(each): parse(addressed(each, ADDRESSES)) for each in change.apply}
        for name, new in change.namespaces.items():
            namespaces[name] = labels_of(namespaces[name], new)
        for name, new in change.pods.items():
            own[name] = labels_of(own[name], new)
        pods = [
            Pod(namespace=each.namespace, name=each.pod, labels=own[str(each)], ports=GRID.named_ports(each))
            for each in GRID.places()
        ]
        world = World(namespaces, list(policies.values()))
        of_80, of_81 = (
            sum(not world.decide(_flow(one, other, port)).allowed for one in pods for other in pods)
            for port in (80, 81)
        )
        counts.append((of_80, of_81))
    return counts


def _flow(source: Pod, target: Pod, port: int) -> Flow:
    ends = (ADDRESSES[str(source)][0], ADDRESSES[str(target)][0])
    return Flow(source=source, target=target, source_address=ends[0], target_address=ends[1], port=port)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        # Three pods that nobody but themselves reaches: from eight others each; and nobody whom they reach: six more each.
        ("deny all ingress", [(24, 24)]),
        ("deny everything", [(42, 42)]),
        ("allow all ingress", [(0, 0)]),
        # One pod, kept from all eight others but some.
        ("pods of the same namespace, by labels", [(7, 7)]),
        ("all pods of the same namespace, for one target", [(6, 6)]),
        ("pods of all namespaces", [(0, 0)]),
        ("pods of one other namespace", [(5, 5)]),
        ("these pods, or those namespaces", [(4, 4)]),
        ("these pods of those namespaces", [(7, 7)]),
        ("some pods of some namespaces", [(4, 4)]),
        ("all namespaces but one by its name", [(2, 2)]),
        ("no pods of other namespaces", [(18, 18)]),
        ("one port, to one other namespace", [(8, 5)]),
        ("a named port", [(8, 0)]),
        ("a named port that is another number on one pod", [(8, 16)]),
        ("egress to a named port", [(0, 8)]),
        ("a range of ports", [(0, 24)]),
        ("policies add up", [(5, 8), (5 + 8, 5 + 5)]),
        ("allow-all wins over narrower ingress", [(24, 24), (0, 0)]),
        ("an updated policy", [(0, 0), (24, 24)]),
        ("a deleted policy", [(24, 24), (0, 0)]),
        ("a namespace that gets the label", [(24, 24), (15, 15)]),
        ("a pod that gets the label", [(24, 24), (21, 21), (24, 24)]),
        ("a pod that becomes a target", [(0, 0), (8, 8)]),
        ("deny the egress of a namespace", [(24, 24)]),
        ("egress to one pod of one other namespace", [(7, 7)]),
        ("ingress and egress are independent", [(8, 8), (8, 8)]),
        ("egress to a range of addresses", [(0, 0)]),
        ("egress to a range but one address", [(1, 1)]),
        ("an address that one block excepts and another allows", [(0, 0)]),
        ("SCTP is not TCP", [(8, 8)]),
        ("a policy about SCTP isolates all the same", [(24, 24)]),
        ("UDP is not TCP", [(8, 8)]),
        ("SCTP of one pod of one other namespace", [(8, 8)]),
    ],
)
def test_the_cases_keep_apart_what_one_counts_by_hand(name: str, counts: list[tuple[int, int]]) -> None:
    (case,) = (each for each in upstream.cases() if each.name == name)

    assert blocked(case) == counts

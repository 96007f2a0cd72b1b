"""What NetworkPolicies let through, sentence by sentence of their documentation."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from koalesce.netpol import generated
from koalesce.netpol.cases import policy
from koalesce.netpol.grid import Grid, addressed
from koalesce.netpol.policy import Policy, parse
from koalesce.netpol.simulator import Decision, End, Flow, NamedPort, Node, Outside, Pod, World

NAMESPACES = {"x": {"ns": "x"}, "y": {"ns": "y"}, "z": {"ns": "z"}}
PORTS = (NamedPort("web", 80), NamedPort("dns", 53, "UDP"))
ADDRESSES = {
    "x/a": "10.0.0.1",
    "x/b": "10.0.0.2",
    "y/a": "10.0.1.1",
    "y/b": "10.0.1.2",
    "n1": "192.0.2.1",
    "n2": "192.0.2.2",
}
XA = Pod(namespace="x", name="a", labels={"pod": "a"}, node="n1", ports=PORTS)
XB = Pod(namespace="x", name="b", labels={"pod": "b"}, node="n2", ports=PORTS)
YA = Pod(namespace="y", name="a", labels={"pod": "a", "tier": "front"}, node="n1", ports=(NamedPort("web", 8080),))
YB = Pod(namespace="y", name="b", labels={"pod": "b"}, node="n2", ports=PORTS)
DENY_IN = policy("x", "deny-in", types=["Ingress"])
DENY_OUT = policy("x", "deny-out", types=["Egress"])


def decide(
    source: End, target: End, *policies: dict[str, Any], port: int = 80, protocol: Any = "TCP", source_address: str = ""
) -> Decision:
    ends = [str(each).removeprefix("node ") for each in (source, target)]
    flow = Flow(
        source=source, target=target, source_address=source_address or ADDRESSES.get(ends[0], "198.51.100.7"),
        target_address=ADDRESSES.get(ends[1], "198.51.100.7"), port=port, protocol=protocol,
    )  # fmt: skip
    return World(NAMESPACES, [parse(each) for each in policies]).decide(flow)


def let(*policies: dict[str, Any], **how: Any) -> list[str]:
    """The pods that x/a is reached from."""
    return [str(each) for each in (XB, YA, YB) if decide(each, XA, *policies, **how).allowed]


def ingress(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return policy("x", "in", types=["Ingress"], ingress=list(rules), **more)


def test_without_policies_everything_is_let_through() -> None:
    assert decide(YA, XB) == Decision(True, "no policy isolates y/a for egress; no policy isolates x/b for ingress")


def test_a_policy_isolates_in_its_directions_only() -> None:
    assert decide(YB, XA, DENY_IN) == Decision(
        False, "x/a is isolated for ingress by x/deny-in, and no rule lets it through"
    )
    assert decide(XA, YB, DENY_IN).allowed
    assert decide(XA, YB, DENY_OUT) == Decision(
        False, "x/a is isolated for egress by x/deny-out, and no rule lets it through"
    )
    assert decide(YB, XA, DENY_OUT).allowed


def test_both_ends_must_let_it_through_and_both_say_why_not() -> None:
    allow_in = ingress({})

    assert (
        decide(XA, XB, DENY_OUT, allow_in).reason
        == "x/a is isolated for egress by x/deny-out, and no rule lets it through"
    )
    assert not decide(XA, XB, policy("x", "out", types=["Egress"], egress=[{}]), DENY_IN).allowed
    assert decide(XA, XB, DENY_OUT, DENY_IN).reason.count("isolated") == 2


def test_a_policy_is_about_pods_of_its_own_namespace_that_its_selector_takes() -> None:
    only_b = policy("x", "b", {"matchLabels": {"pod": "b"}}, types=["Ingress"])

    assert not decide(YA, XB, only_b).allowed
    assert decide(YA, XA, only_b).allowed
    assert decide(XA, YB, only_b).allowed


def test_policies_add_up_in_any_order() -> None:
    allow_b = ingress({"from": [{"podSelector": {"matchLabels": {"pod": "b"}}}]})

    for order in itertools.permutations([DENY_IN, allow_b]):
        assert let(*order) == ["x/b"]


@pytest.mark.parametrize(
    ("peer", "reached_from"),
    [
        ({"podSelector": {}}, ["x/b"]),
        ({"podSelector": {"matchLabels": {"pod": "b"}}}, ["x/b"]),
        ({"podSelector": {"matchLabels": {"pod": "c"}}}, []),
        ({"namespaceSelector": {}}, ["x/b", "y/a", "y/b"]),
        ({"namespaceSelector": {"matchLabels": {"ns": "y"}}}, ["y/a", "y/b"]),
        ({"namespaceSelector": {"matchLabels": {"ns": "y"}}, "podSelector": {"matchLabels": {"pod": "b"}}}, ["y/b"]),
        ({"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}}, ["y/a"]),
        ({"namespaceSelector": {"matchExpressions": [{"key": "ns", "operator": "NotIn", "values": ["y"]}]}}, ["x/b"]),
        ({"ipBlock": {"cidr": "10.0.1.0/24"}}, ["y/a", "y/b"]),
        ({"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.1.0/24"]}}, ["x/b"]),
        ({"ipBlock": {"cidr": "fd00::/8"}}, []),
    ],
)  # fmt: skip
def test_peers(peer: dict[str, Any], reached_from: list[str]) -> None:
    assert let(ingress({"from": [peer]})) == reached_from


def test_several_peers_are_alternatives_and_no_peers_mean_everybody() -> None:
    pods, namespaces = (
        {"podSelector": {"matchLabels": {"pod": "b"}}},
        {"namespaceSelector": {"matchLabels": {"ns": "y"}}},
    )

    assert let(ingress({"from": [pods, namespaces]})) == ["x/b", "y/a", "y/b"]
    assert let(ingress({"from": []})) == ["x/b", "y/a", "y/b"]
    assert let(ingress({})) == ["x/b", "y/a", "y/b"]


def test_what_one_block_excepts_another_rule_may_let_through() -> None:
    wide = {"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.1.2/32"]}}
    narrow = {"ipBlock": {"cidr": "10.0.1.2/32"}}

    assert let(ingress({"from": [wide]})) == ["x/b", "y/a"]
    assert let(ingress({"from": [wide, narrow]})) == ["x/b", "y/a", "y/b"]
    assert let(ingress({"from": [wide]}, {"from": [narrow]})) == ["x/b", "y/a", "y/b"]


@pytest.mark.parametrize(
    ("ports", "tcp", "udp"),
    [
        ([], [53, 80, 81], [53, 80, 81]),
        ([{}], [53, 80, 81], []),
        ([{"protocol": "UDP"}], [], [53, 80, 81]),
        ([{"port": 80}], [80], []),
        ([{"protocol": "UDP", "port": 80}], [], [80]),
        ([{"port": 80}, {"protocol": "UDP", "port": 53}], [80], [53]),
        ([{"port": 60, "endPort": 80}], [80], []),
        ([{"port": 60, "endPort": 79}], [], []),
        ([{"port": "web"}], [80], []),
        ([{"protocol": "UDP", "port": "dns"}], [], [53]),
        ([{"port": "dns"}], [], []),
        ([{"port": "other"}], [], []),
        ([{"protocol": "SCTP", "port": 80}], [], []),
    ],
)
def test_ports(ports: list[dict[str, Any]], tcp: list[int], udp: list[int]) -> None:
    allowed = ingress({"ports": ports})

    for protocol, wanted in (("TCP", tcp), ("UDP", udp)):
        assert [n for n in (53, 80, 81) if decide(XB, XA, allowed, port=n, protocol=protocol).allowed] == wanted


def test_the_name_of_a_port_is_the_targets_own_in_both_directions() -> None:
    out = policy("x", "out", types=["Egress"], egress=[{"ports": [{"port": "web"}]}])

    assert [n for n in (80, 8080) if decide(XA, YA, out, port=n).allowed] == [8080]
    assert [n for n in (80, 8080) if decide(XA, YB, out, port=n).allowed] == [80]


def test_peer_and_port_must_be_of_the_same_rule() -> None:
    b, y = {"podSelector": {"matchLabels": {"pod": "b"}}}, {"namespaceSelector": {"matchLabels": {"ns": "y"}}}
    rules = ingress({"from": [b], "ports": [{"port": 80}]}, {"from": [y], "ports": [{"port": 81}]})

    assert let(rules, port=80) == ["x/b"]
    assert let(rules, port=81) == ["y/a", "y/b"]


def test_a_pod_always_reaches_itself() -> None:
    assert decide(XA, XA, DENY_IN, DENY_OUT) == Decision(True, "nothing keeps a pod from itself")


def test_a_pod_and_its_own_node_always_reach_each_other() -> None:
    assert decide(Node("n1"), XA, DENY_IN).allowed
    assert decide(XA, Node("n1"), DENY_OUT).allowed
    assert not decide(Node("n2"), XA, DENY_IN).allowed
    assert not decide(XA, Node("n2"), DENY_OUT).allowed


def test_nodes_and_the_outside_are_known_by_their_addresses_only() -> None:
    everybody = ingress({"from": [{"namespaceSelector": {}}]})
    by_address = ingress({"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]})

    assert not decide(Node("n2"), XA, everybody).allowed
    assert decide(Node("n2"), XA, by_address).allowed
    assert not decide(Outside(), XA, by_address).allowed
    assert decide(Outside(), XA, by_address, source_address="192.0.2.9").allowed
    assert decide(XA, Outside(), DENY_IN).allowed


def test_it_says_which_rule_lets_it_through() -> None:
    rules = ingress({"ports": [{"port": 81}]}, {"from": [{"podSelector": {}}]})

    assert decide(XB, XA, DENY_IN, rules).reason == "no policy isolates x/b for egress; x/in ingress[1] lets it through"


def _table(world: World, pods: list[Pod], addresses: dict[str, str]) -> dict[tuple[str, str, int, str], bool]:
    table = {}
    for source, target, port, protocol in itertools.product(pods, pods, (80, 81), ("TCP", "UDP")):
        flow = Flow(
            source=source, target=target, source_address=addresses[str(source)], target_address=addresses[str(target)],
            port=port, protocol=protocol,  # type: ignore[arg-type]  # one of them
        )  # fmt: skip
        table[str(source), str(target), port, protocol] = world.decide(flow).allowed
    return table


@pytest.mark.parametrize("seed", range(40))
def test_of_any_policies_it_holds_that(seed: int) -> None:
    """Laws that the API has, whatever the policies are."""
    grid = Grid(protocols=("TCP", "UDP"))
    addresses = {str(each): f"10.0.{index // 3}.{index + 1}" for index, each in enumerate(grid.places())}
    pods = [
        Pod(
            namespace=each.namespace,
            name=each.pod,
            labels=grid.pod_labels(each),
            node="n",
            ports=grid.named_ports(each),
        )
        for each in grid.places()
    ]
    namespaces = {each: grid.namespace_labels(each) for each in grid.namespaces}
    known = {name: (address,) for name, address in addresses.items()}
    written = [obj for case in generated.cases(grid, seed=seed, count=3) for obj in case.changes[0].apply]
    policies: list[Policy] = [parse(addressed(each, known)) for each in written]
    table = _table(World(namespaces, policies), pods, addresses)

    # The order of policies doesn't matter, nor does it that one is there twice.
    shuffled = random.Random(seed).sample(policies, len(policies))
    assert _table(World(namespaces, [*shuffled, policies[0]]), pods, addresses) == table
    # Nobody is isolated by what selects nobody; a pod reaches itself.
    assert all(allowed for (source, target, _, _), allowed in table.items() if source == target)
    # What a policy denies, allow-all of everybody lets through; what none allows, deny-all denies.
    for namespace in namespaces:
        policies.append(parse(policy(namespace, "all", types=["Ingress", "Egress"], ingress=[{}], egress=[{}])))
    assert all(_table(World(namespaces, policies), pods, addresses).values())
    # A policy with rules lets at least through what the same without rules does.
    closed = [Policy(namespace=p.namespace, name=p.name, selector=p.selector, types=p.types) for p in policies[:-3]]
    tight = _table(World(namespaces, closed), pods, addresses)
    assert all(table[cell] for cell, allowed in tight.items() if allowed)

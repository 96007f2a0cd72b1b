"""NetworkPolicies as values: defaults, and what can't be one."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from koalesce.netpol.policy import Block, Expression, Peer, Port, Rule, Selector, parse


def policy(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "x"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def test_a_policy_is_read_with_all_of_its_parts() -> None:
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
    term = {"key": "tier", "operator": "In", "values": ["a", "b"]}
    pods = {"podSelector": {"matchLabels": {"b": "2", "a": "1"}}, "namespaceSelector": {"matchExpressions": [term]}}
    ports = [{"port": 80, "endPort": 90}, {"protocol": "UDP", "port": "dns"}, {}]

    read = parse(policy(podSelector={}, ingress=[{"from": [pods, block], "ports": ports}]))

    assert str(read) == "x/web"
    assert read.ingress == (
        Rule(
            peers=(
                Peer(Selector((("a", "1"), ("b", "2"))), Selector((), (Expression("tier", "In", ("a", "b")),))),
                Peer(block=Block(ipaddress.ip_network("10.0.0.0/8"), (ipaddress.ip_network("10.1.0.0/16"),))),
            ),
            ports=(Port("TCP", 80, 90), Port("UDP", "dns"), Port("TCP")),
        ),
    )


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, {"ingress"}),
        ({"egress": [{}]}, {"ingress", "egress"}),
        ({"egress": []}, {"ingress"}),
        ({"policyTypes": ["Egress"]}, {"egress"}),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, {"ingress"}),
        ({"policyTypes": ["Ingress", "Egress"]}, {"ingress", "egress"}),
    ],
)
def test_types_left_out_follow_from_the_rules(spec: dict[str, Any], types: set[str]) -> None:
    assert parse(policy(podSelector={}, **spec)).types == types


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"ingres": []}, 'spec.ingres: unknown field; did you mean "ingress"?'),
        ({"policyTypes": ["ingress"]}, "spec.policyTypes: must be Ingress or Egress, not 'ingress'"),
        ({"ingress": {}}, "spec.ingress: must be a list"),
        ({"ingress": [{"to": []}]}, "spec.ingress[0].to: unknown field"),
        ({"ingress": [{"from": [{}]}]}, "spec.ingress[0].from[0]: says nobody"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]}, "spec.egress[0].to[0].ipBlock.cidr: 10.0.0.1/8 has host bits set"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}]}]}, "must be a part of 10.0.0.0/8"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]}, "and not all of it"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]}, "ipBlock stands alone"),
        ({"ingress": [{"ports": [{"protocol": "ICMP"}]}]}, "must be TCP, UDP or SCTP, not 'ICMP'"),
        ({"ingress": [{"ports": [{"port": True}]}]}, "must be a number or a name, not True"),
        ({"ingress": [{"ports": [{"port": "web", "endPort": 90}]}]}, "endPort: needs a number"),
        ({"ingress": [{"ports": [{"port": 90, "endPort": 80}]}]}, "endPort: needs a number as port that is no greater"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}, "operator: must be one of"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "values: needed with In"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}, "values: not allowed with Exists"),
        ({"podSelector": {"matchExpressions": [{"operator": "Exists"}]}}, "key: is missing"),
    ],
)  # fmt: skip
def test_what_can_not_be_a_policy_is_said_with_its_path(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(policy(**spec))

    assert said in str(caught.value)


def test_another_object_is_none() -> None:
    with pytest.raises(ValueError, match=r"v1 ConfigMap is no networking\.k8s\.io/v1 NetworkPolicy"):
        parse({"apiVersion": "v1", "kind": "ConfigMap"})


@pytest.mark.parametrize(
    ("operator", "values", "with_key", "with_other", "without"),
    [
        ("In", ("a",), True, False, False),
        ("NotIn", ("a",), False, True, True),
        ("Exists", (), True, True, False),
        ("DoesNotExist", (), False, False, True),
    ],
)
def test_expressions_are_kubernetes_own(
    operator: Any, values: tuple[str, ...], with_key: bool, with_other: bool, without: bool
) -> None:
    term = Expression("k", operator, values)

    assert [term.fits({"k": "a"}), term.fits({"k": "b"}), term.fits({})] == [with_key, with_other, without]

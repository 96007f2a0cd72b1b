"""The cases that Kubernetes' own tests of NetworkPolicies are about (test/e2e/network/netpol), for the grid as it is by default.

Those about SCTP are tried by it where the grid speaks it (`protocols: [SCTP]`). Three are more: a range of ports, a name that means different numbers, and an address that
one block of a rule excepts and another one allows. The outcome of each is what the simulator says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from koalesce.netpol.cases import Case, Change, labels, named, policy, term
from koalesce.netpol.grid import NAME_LABEL

_A, _B, _C = labels(pod="a"), labels(pod="b"), labels(pod="c")
_X, _Y, _Z = labels(ns="x"), labels(ns="y"), labels(ns="z")
_BOTH = ["Ingress", "Egress"]
_TCP_80, _TCP_81 = {"protocol": "TCP", "port": 80}, {"protocol": "TCP", "port": 81}


def cases() -> list[Case]:
    """All of them."""
    return [*_defaults(), *_peers(), *_ports(), *_stacked(), *_changing(), *_egress(), *_blocks(), *_protocols()]


def _defaults() -> Iterator[Case]:
    yield _one("deny all ingress", policy("x", "deny-ingress", types=["Ingress"], ingress=[]), "ingress default")
    yield _one("deny everything", policy("x", "deny-all", types=_BOTH), "ingress egress default both-directions")
    yield _one("allow all ingress", policy("x", "allow-all", types=["Ingress"], ingress=[{}]), "ingress default")


def _peers() -> Iterator[Case]:
    yield _from("pods of the same namespace, by labels", _A, {"podSelector": _B})
    yield _from("all pods of the same namespace, for one target", _A, {"podSelector": {}})
    yield _from("pods of all namespaces", _A, {"namespaceSelector": {}})
    yield _from("pods of one other namespace", _A, {"namespaceSelector": _Y})
    yield _from("pods by an expression", _A, {"podSelector": term("pod", "In", "b")})
    yield _from("namespaces by an expression", _A, {"namespaceSelector": term("ns", "In", "y")})
    yield _from("these pods, or those namespaces", _A, {"podSelector": _B}, {"namespaceSelector": _Y})
    yield _from("these pods of those namespaces", _A, {"podSelector": _B, "namespaceSelector": _Y})
    yield _from(
        "some pods of some namespaces", _A,
        {"namespaceSelector": term("ns", "NotIn", "x"), "podSelector": term("pod", "In", "b", "c")},
    )  # fmt: skip
    yield _from("any of several pods", _A, {"podSelector": _B}, {"podSelector": _C})
    yield _from("one pod of one other namespace", _A, {"namespaceSelector": _Y, "podSelector": _A})
    yield _from("no pods of other namespaces", {}, {"podSelector": {}})
    yield _from("a namespace by its name", _A, {"namespaceSelector": {"matchLabels": {NAME_LABEL: "y"}}})
    yield _from("all namespaces but one by its name", _A, {"namespaceSelector": term(NAME_LABEL, "NotIn", "x")})


def _ports() -> Iterator[Case]:
    yield _one(
        "one port, to one other namespace",
        policy("x", "port", _A, types=["Ingress"], ingress=[{"from": [{"namespaceSelector": _Y}], "ports": [_TCP_81]}]),
        "ingress port",
    )
    yield _one("a named port", _named_port({}), "ingress port named-port")
    yield _one(
        "a named port, for one namespace", _named_port({"from": [{"namespaceSelector": _X}]}), "ingress port named-port"
    )
    yield _one(
        "a named port that is another number on one pod",
        policy("x", "main", types=["Ingress"], ingress=[{"ports": [{"port": "main"}]}]),
        "ingress port named-port main-port",
    )
    yield _one(
        "egress to a named port",
        policy("x", "named", _A, types=["Egress"], egress=[{"ports": [{"port": "serve-80-tcp"}]}]),
        "egress port named-port",
    )
    yield _one(
        "all ports of a protocol",
        policy("x", "any-port", types=["Ingress"], ingress=[{"ports": [{"protocol": "TCP"}]}]),
        "ingress port protocol",
    )
    yield _one(
        "a range of ports",
        policy("x", "range", types=["Ingress"], ingress=[{"ports": [{"protocol": "TCP", "port": 79, "endPort": 80}]}]),
        "ingress port range",
    )


def _stacked() -> Iterator[Case]:
    other = {"from": [{"namespaceSelector": _Y}]}
    one = policy("x", "port-80", _A, types=["Ingress"], ingress=[{**other, "ports": [_TCP_80]}])
    two = policy(
        "x", "port-81", term("pod", "In", "a", "b"), types=["Ingress"], ingress=[{**other, "ports": [_TCP_81]}]
    )
    yield _case("policies add up", "ingress port stacked", _apply(one), _apply(two))
    yield _case(
        "allow-all wins over narrower ingress", "ingress stacked",
        _apply(policy("x", "deny", types=["Ingress"], ingress=[])),
        _apply(policy("x", "allow", types=["Ingress"], ingress=[{}])),
    )  # fmt: skip
    yield _case(
        "allow-all wins over narrower egress", "egress stacked",
        _apply(policy("x", "deny", types=["Egress"], egress=[])),
        _apply(policy("x", "allow", types=["Egress"], egress=[{}])),
    )  # fmt: skip


def _changing() -> Iterator[Case]:
    deny = policy("x", "web", types=["Ingress"], ingress=[])
    yield _case(
        "an updated policy", "ingress update",
        _apply(policy("x", "web", types=["Ingress"], ingress=[{}])), _apply(deny),
    )  # fmt: skip
    yield _case(
        "a deleted policy", "ingress delete",
        _apply(deny), Change(title="delete it", delete=[named(deny)]),
    )  # fmt: skip
    by_namespace = policy("x", "old", types=["Ingress"], ingress=[{"from": [{"namespaceSelector": labels(era="new")}]}])
    yield _case(
        "a namespace that gets the label", "ingress labels",
        _apply(by_namespace), Change(title="label namespace y", namespaces={"y": {"era": "new"}}),
    )  # fmt: skip
    peer = {"podSelector": labels(era="new"), "namespaceSelector": _Y}
    by_pod = policy("x", "old", types=["Ingress"], ingress=[{"from": [peer]}])
    yield _case(
        "a pod that gets the label", "ingress labels",
        _apply(by_pod), Change(title="label pod y/b", pods={"y/b": {"era": "new"}}),
        Change(title="and remove the label", pods={"y/b": {"era": None}}),
    )  # fmt: skip
    yield _case(
        "a pod that becomes a target", "ingress labels target",
        _apply(policy("x", "deny", labels(target="isolated"), types=["Ingress"], ingress=[])),
        Change(title="label pod x/a", pods={"x/a": {"target": "isolated"}}),
    )  # fmt: skip


def _egress() -> Iterator[Case]:
    yield _one("deny the egress of one pod", policy("x", "deny-a", _A, types=["Egress"], egress=[]), "egress default")
    yield _one("deny the egress of a namespace", policy("x", "deny", types=["Egress"], egress=[]), "egress default")
    both = policy(
        "x", "both", _A, types=_BOTH,
        ingress=[{"from": [{"namespaceSelector": _Y}]}], egress=[{"ports": [_TCP_80]}],
    )  # fmt: skip
    yield _one("ingress and egress in one policy", both, "ingress egress port both-directions")
    here, there = {"podSelector": _A, "namespaceSelector": _X}, {"podSelector": _A, "namespaceSelector": _Y}
    yield _one(
        "egress to one pod of one other namespace",
        policy("x", "to-y-a", _A, types=["Egress"], egress=[{"to": [there]}]),
        "egress peer-pods",
    )
    out = policy(
        "x", "out", _A, types=["Egress"], egress=[{"to": [{"namespaceSelector": term("ns", "NotIn", "y", "z")}]}]
    )
    let = policy("y", "in", _A, types=["Ingress"], ingress=[{"from": [here]}])
    yield _one("the client's egress is denied though the server lets it in", [out, let], "ingress egress stacked")
    yield _case(
        "ingress and egress are independent", "ingress egress stacked update",
        _apply(policy("x", "in", _A, types=["Ingress"], ingress=[{}]), policy("x", "out", _A, types=["Egress"], egress=[])),
        _apply(policy("x", "in", _A, types=["Ingress"], ingress=[]), policy("x", "out", _A, types=["Egress"], egress=[{}])),
    )  # fmt: skip


def _blocks() -> Iterator[Case]:
    def to(name: str, *blocks: dict[str, Any]) -> dict[str, Any]:
        return policy("x", name, _A, types=["Egress"], egress=[{"to": [{"ipBlock": block} for block in blocks]}])

    yield _one("egress to a range of addresses", to("range", {"cidr": "x/b/24"}), "egress ipblock")
    but = {"cidr": "x/b/24", "except": ["x/b"]}
    yield _one("egress to a range but one address", to("range", but), "egress ipblock except")
    yield _case(
        "an address that one policy excepts and another allows", "egress ipblock except stacked",
        _apply(to("range", but)), _apply(to("address", {"cidr": "x/b"})),
    )  # fmt: skip
    yield _one(
        "an address that one block excepts and another allows",
        to("range", but, {"cidr": "x/b"}),
        "egress ipblock except same-rule",
    )


def _protocols() -> Iterator[Case]:
    sctp = {"protocol": "SCTP", "port": 80}
    udp = policy("x", "udp", _A, types=["Ingress"], ingress=[{"ports": [{"protocol": "UDP", "port": 80}]}])
    yield _one(
        "SCTP is not TCP",
        policy("x", "sctp", _A, types=["Ingress"], ingress=[{"ports": [sctp]}]),
        "ingress port protocol sctp",
    )
    yield _one(
        "a policy about SCTP isolates all the same",
        policy("x", "sctp", types=["Ingress"], ingress=[{"ports": [{"protocol": "SCTP"}]}]),
        "ingress protocol sctp",
    )
    yield _one("UDP is not TCP", udp, "ingress port protocol udp")
    yield _from(
        "UDP of one pod of one other namespace",
        _A,
        {"namespaceSelector": _Y, "podSelector": _A},
        port={"protocol": "UDP", "port": 81},
    )
    yield _from(
        "SCTP of one pod of one other namespace",
        _A,
        {"namespaceSelector": _Y, "podSelector": _A},
        port={"protocol": "SCTP", "port": 81},
    )


def _named_port(rule: dict[str, Any]) -> dict[str, Any]:
    return policy("x", "named", _A, types=["Ingress"], ingress=[{**rule, "ports": [{"port": "serve-81-tcp"}]}])


def _from(name: str, target: dict[str, Any], *peers: dict[str, Any], port: dict[str, Any] | None = None) -> Case:
    rule = {"from": list(peers), **({"ports": [port]} if port else {})}
    tags = "ingress peer-pods" if any("podSelector" in each for each in peers) else "ingress peer-namespaces"
    return _one(
        name,
        policy("x", "from", target, types=["Ingress"], ingress=[rule]),
        f"{tags} {port['protocol'].lower()} port" if port else tags,
    )


def _one(name: str, policies: dict[str, Any] | list[dict[str, Any]], tags: str) -> Case:
    return _case(name, tags, _apply(*(policies if isinstance(policies, list) else [policies])))


def _apply(*policies: dict[str, Any]) -> Change:
    return Change(title=f"apply {', '.join(map(named, policies))}", apply=policies)


def _case(name: str, tags: str, *changes: Change) -> Case:
    return Case(name=name, changes=changes, tags=frozenset(tags.split()))


def tags(found: Sequence[Case]) -> list[str]:
    """All tags that cases have."""
    return sorted({tag for case in found for tag in case.tags})

"""Policies made by chance, the same ones from the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from koalesce.netpol.cases import Case, Change, labels, named, policy, term
from koalesce.netpol.grid import Grid

# What the cases of this suite are about; each has some of them.
TAGS = (
    "block-by-name", "both-directions", "egress", "except", "expressions", "ingress", "ipblock", "labels", "main-port", "named-port", "peer-namespaces", "peer-pods", "port", "range",
    "same-rule", "stacked", "update",
)  # fmt: skip
_TIER = "tier"
_TIERS = ("front", "back")


def cases(grid: Grid, *, seed: int, count: int) -> Iterator[Case]:
    """So many cases, each with one to three policies, some of which change them or labels afterwards."""
    for number in range(count):
        # A generator of its own for each: the same case comes of the same number, however many there are.
        yield _Maker(grid, random.Random(f"{seed}/{number}")).case(f"{seed}/{number}")  # noqa: S311  # no secret


class _Maker:
    """Makes one case, and notes what it is about."""

    def __init__(self, grid: Grid, chance: random.Random) -> None:
        self._grid, self._chance = grid, chance
        self._tags: set[str] = set()

    def case(self, name: str) -> Case:
        count = self._chance.choice((1, 1, 2, 3))
        if count > 1:
            self._tags.add("stacked")
        policies = [self._policy(f"policy-{index}") for index in range(count)]
        changes = [Change(title=f"apply {', '.join(map(named, policies))}", apply=policies)]
        if self._is(1 / 3):
            changes.append(self._labels())
        elif self._is(1 / 3):
            changed = self._policy(policies[0]["metadata"]["name"], policies[0]["metadata"]["namespace"])
            self._tags.add("update")
            changes.append(Change(title=f"update {named(changed)}", apply=[changed]))
        return Case(name=name, changes=changes, tags=frozenset(self._tags))

    def _labels(self) -> Change:
        self._tags.add("labels")
        new: dict[str, str | None] = {_TIER: self._chance.choice(_TIERS)}
        if self._is(1 / 3):
            namespace = self._namespace()
            return Change(title=f"label namespace {namespace}", namespaces={namespace: new})
        pods = {str(each): new for each in self._some(list(self._grid.places()), 2)}
        return Change(title=f"label {', '.join(pods)}", pods=pods)

    def _policy(self, name: str, namespace: str = "") -> dict[str, Any]:
        directions = self._chance.choice((["Ingress"], ["Egress"], ["Ingress"], ["Egress"], ["Ingress", "Egress"]))
        if len(directions) > 1:
            self._tags.add("both-directions")
        spec: dict[str, Any] = {"types": directions}
        for direction, field, peers in (("Ingress", "ingress", "from"), ("Egress", "egress", "to")):
            if direction in directions:
                self._tags.add(field)
                spec[field] = [self._rule(peers) for _ in range(self._chance.choice((0, 1, 1, 1, 2)))]
        return policy(namespace or self._namespace(), name, self._pods(), **spec)

    def _rule(self, peers: str) -> dict[str, Any]:
        rule: dict[str, Any] = {}
        if self._is(0.8):
            rule[peers] = [self._peer() for _ in range(self._chance.choice((1, 1, 2)))]
        if self._is(0.6):
            rule["ports"] = [self._port() for _ in range(self._chance.choice((1, 1, 2)))]
        blocks = sum("ipBlock" in peer for peer in rule.get(peers, ()))
        if blocks > 1:
            self._tags.add("same-rule")
        if peers == "to" and blocks and any(isinstance(port.get("port"), str) for port in rule.get("ports", ())):
            self._tags.add("block-by-name")
        return rule

    def _peer(self) -> dict[str, Any]:
        kind = self._chance.choice(("pods", "namespaces", "both", "both", "block"))
        if kind == "block":
            return {"ipBlock": self._block()}
        self._tags.add("peer-pods" if kind != "namespaces" else "peer-namespaces")
        pods, namespaces = {"podSelector": self._pods()}, {"namespaceSelector": self._namespaces()}
        return pods if kind == "pods" else namespaces if kind == "namespaces" else {**pods, **namespaces}

    def _block(self) -> dict[str, Any]:
        self._tags.add("ipblock")
        pod = str(self._chance.choice(list(self._grid.places())))
        if self._is(0.4):
            return {"cidr": pod}
        if self._is(0.5):
            return {"cidr": self._wide(pod)}
        self._tags.add("except")
        return {"cidr": self._wide(pod), "except": [pod]}

    def _wide(self, pod: str) -> str:
        return f"{pod}/{self._chance.choice((16, 24, 29))}"

    def _port(self) -> dict[str, Any]:
        self._tags.add("port")
        protocol = self._chance.choice(self._grid.protocols)
        number = self._chance.choice(self._grid.ports)
        kinds: list[Callable[[], dict[str, Any]]] = [
            lambda: {"protocol": protocol},
            lambda: {"protocol": protocol, "port": number},
            lambda: {"protocol": protocol, "port": number},
            lambda: self._range(protocol),
            lambda: self._named(protocol, number),
        ]
        return self._chance.choice(kinds)()

    def _range(self, protocol: str) -> dict[str, Any]:
        self._tags.add("range")
        first = self._chance.choice((1, 79, *self._grid.ports))
        return {"protocol": protocol, "port": first, "endPort": first + self._chance.choice((0, 1, 1000))}

    def _named(self, protocol: str, number: int) -> dict[str, Any]:
        self._tags.add("named-port")
        if protocol == "TCP" and self._is(0.5):
            self._tags.add("main-port")
            return {"protocol": protocol, "port": "main"}
        return {"protocol": protocol, "port": f"serve-{number}-{protocol.lower()}"}

    def _pods(self) -> dict[str, Any]:
        return self._selector("pod", self._grid.pods)

    def _namespaces(self) -> dict[str, Any]:
        return self._selector("ns", self._grid.namespaces)

    def _selector(self, key: str, values: tuple[str, ...]) -> dict[str, Any]:
        kind = self._chance.choice(("all", "label", "label", "in", "not in", "tier", "no tier"))
        if kind == "all":
            return {}
        if kind == "label":
            return labels(**{key: self._chance.choice(values)})
        self._tags.add("expressions")
        if kind in ("in", "not in"):
            return term(key, "In" if kind == "in" else "NotIn", *self._some(list(values), 2))
        return term(_TIER, "DoesNotExist") if kind == "no tier" else term(_TIER, "In", self._chance.choice(_TIERS))

    def _some(self, values: list[Any], most: int) -> list[Any]:
        return self._chance.sample(values, self._chance.randint(1, min(most, len(values))))

    def _namespace(self) -> str:
        return self._chance.choice(self._grid.namespaces)

    def _is(self, probability: float) -> bool:
        return self._chance.random() < probability

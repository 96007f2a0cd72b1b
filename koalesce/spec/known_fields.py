"""The fields of what expressions name: of clusters, nodes, fixtures, components and tests."""

from __future__ import annotations

from collections.abc import Collection

from koalesce.expressions import Expression
from koalesce.records import dataclass
from koalesce.yaml.problems import did_you_mean

CLUSTER = (
    "capabilities", "dnsIP", "kubeconfig", "kubernetes", "name", "podCIDR", "podCIDRs", "provider", "serviceCIDR", "serviceCIDRs",
)  # fmt: skip
NODE = ("address", "addresses", "name", "podCIDR", "podCIDRs", "role")
FIXTURE = ("address", "addresses", "kind", "name")
COMPONENT = ("images", "name", "namespace", "namespaces")


@dataclass(frozen=True, slots=True)
class _Thing:
    """What a root leads to: what it is called, how many names stand before its fields, and which they are."""

    called: str
    depth: int
    fields: Collection[str]


_THINGS = {
    "cluster": _Thing("a cluster", 0, CLUSTER),
    "clusters": _Thing("a cluster", 1, (*CLUSTER, "nodes")),
    "components": _Thing("a component", 1, COMPONENT),
    "fixtures": _Thing("a fixture", 1, FIXTURE),
    "node": _Thing("a node", 0, NODE),
    "nodes": _Thing("a node", 1, NODE),
    "others": _Thing("a node", 1, NODE),
    "test": _Thing("a test", 0, ("name",)),
}


def unknown_field(expression: Expression) -> tuple[str, str | None] | None:
    """What is wrong with the field of a thing that an expression names, and a hint; None if nothing is."""
    thing = _THINGS.get(expression.root)
    if thing is None:
        return None
    segments = expression.segments[thing.depth :]
    if expression.root == "clusters" and segments[:1] == ("nodes",):
        thing, segments = _THINGS["nodes"], segments[2:]
    field = segments[0] if segments else None
    if not isinstance(field, str) or field in thing.fields:
        return None
    fields = sorted(thing.fields)
    message = f'{expression.text}: {thing.called} has no "{field}"'
    return message, did_you_mean(field, fields) or f"it has {', '.join(fields)}"

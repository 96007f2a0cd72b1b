"""The addresses that targets see, compared with those that they were to see."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from koalesce.steps.base import StepContext
from koalesce.steps.inside.places import select_nodes
from koalesce.steps.wire.probing import Batch, Observed, Seen


def check_wish(text: str) -> None:
    """Raise a ValueError where nothing can be compared with it."""
    if text not in ("preserved", "node") and "${{" not in text:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f'"{text}" is none of preserved, node and a CIDR such as 10.244.0.0/16') from None


def witnesses(wish: str | None, context: StepContext) -> list[Batch]:
    """Looks at the nodes themselves: they tell all addresses that a node may use for others."""
    if wish != "node":
        return []
    nodes = select_nodes("all", context.cluster)
    return [Batch(source=node) for node in nodes] if isinstance(nodes, list) else []


def addresses_of_nodes(seen: Sequence[Seen], context: StepContext) -> set[str]:
    """All of them: those that the witnesses have told, and those that are known."""
    found = {address for each in seen for address in each.addresses}
    return found | {address for node in context.cluster.nodes for address in node.addresses}


def source_problem(wish: str, observed: Observed, of_nodes: set[str]) -> str:
    """What is wrong with the address that the target saw; empty if nothing is."""
    if not observed.seen_source:
        return observed.failure or "the target did not say which address it saw"
    if wish == "preserved":
        right, wanted = observed.seen_source == observed.local, observed.local
    elif wish == "node":
        right, wanted = observed.seen_source in of_nodes, "an address of a node"
    else:
        network = ipaddress.ip_network(wish, strict=False)
        right, wanted = ipaddress.ip_address(observed.seen_source) in network, str(network)
    return "" if right else f"seen as {observed.seen_source}, expected {wanted}"

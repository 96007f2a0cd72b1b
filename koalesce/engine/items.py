"""What a `foreach` over pods or nodes goes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from koalesce.spec.fields import Places
from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.inside.places import nodes_of, pod_addresses, select_pods


class NoItems(Exception):
    """There is nothing to go over; `outcome` says why."""

    def __init__(self, outcome: Failed | Errored) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def items_of(places: Places, context: StepContext, nodes: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The pods by name, or the nodes in their order, as expressions see them; NoItems where there are none."""
    if places.nodes is not None:
        found = nodes_of(places.nodes, context.cluster)
        if isinstance(found, Errored):
            raise NoItems(found)
        known = {node["name"]: node for node in nodes}
        return [known.get(node.name, {"name": node.name, "address": node.address, "role": node.role}) for node in found]
    pods = select_pods(None, places.pods, None, context)
    if not isinstance(pods, list):
        raise NoItems(pods)
    return sorted((_pod(pod) for pod in pods), key=lambda pod: (pod["namespace"], pod["name"]))


def _pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    metadata, addresses = pod["metadata"], list(pod_addresses(pod))
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "node": pod.get("spec", {}).get("nodeName", ""),
        "ip": addresses[0] if addresses else "",
        "ips": addresses,
        "labels": dict(metadata.get("labels") or {}),
        "annotations": dict(metadata.get("annotations") or {}),
    }

"""Nodes that join a cluster, and nodes that leave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from koalesce.cluster import ActiveFault, Cluster, Fault, FaultKind, FaultService, Node
from koalesce.errors import ClusterError
from koalesce.steps.base import Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.faults.targets import NodesOfIt
from koalesce.steps.inside.places import nodes_of
from koalesce.steps.objects.reading import Reader

Verb = Literal["add", "remove"]
_KINDS: dict[Verb, FaultKind] = {"add": "add-node", "remove": "remove-node"}
_MOVED = "nodes that were added or removed"
_NOT_READY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class Moved(NodesOfIt):
    """Nodes that join or leave."""

    def move(self, verb: Verb, context: StepContext) -> Outcome:
        """Have those move that haven't yet, and see whether they have; each is where it was at the test's end."""
        service, kind = context.cluster.faults, _KINDS[verb]
        if service is None or kind not in service.kinds:
            return Errored(f"the provider {context.cluster.provider} can't {verb} nodes", final=True)
        begun: list[Node] | None = context.memory.get(_MOVED)
        if begun is None:
            nodes = self._nodes(verb, context.cluster)
            if isinstance(nodes, Errored):
                return nodes
            begun = context.memory[_MOVED] = []
            for node in nodes:
                try:
                    _have_moved(node, verb, kind, service, context)
                except ClusterError as error:
                    return Errored(str(error), final=True)
                begun.append(node)
        names = ", ".join(node.name for node in begun)
        if unready := [why for node in begun if verb == "add" and (why := _unready(node.name, context))]:
            return Failed("; ".join(unready), "Ready", "not Ready")
        return Passed(f"{verb}: {names} {'joined' if verb == 'add' else 'left'}", {"nodes": [n.name for n in begun]})

    def _nodes(self, verb: Verb, cluster: Cluster) -> Sequence[Node] | Errored:
        """The nodes that are meant; those that are to join aren't part of the cluster now."""
        if verb == "remove":
            return nodes_of(self.names, cluster)
        away = {node.name: node for node in cluster.nodes if node not in cluster.present}
        if isinstance(self.names, str):
            return list(away.values()) or Errored("no node is kept aside (spare), and none was removed", final=True)
        if there := [name for name in self.names if name not in away]:
            return Errored(
                f"{there[0]} is no node that is kept aside; there are: {', '.join(away) or 'none'}", final=True
            )
        return [away[name] for name in self.names]


def _have_moved(node: Node, verb: Verb, kind: FaultKind, service: FaultService, context: StepContext) -> None:
    """Have a node move: back, if it's not where it was at first; ClusterError if it can't."""
    if move_back := context.cluster.moved.get(node.name):
        move_back()
        return
    move = _Move(node.name, context.cluster)
    context.scope.defer(f"{verb} node/{node.name}: undo it{context.sightings.numbered()}", move.undo)
    move.begun(service.begin(Fault(kind=kind, machines=(node.name,))))


class _Move:
    """A node that moved, until it has moved back."""

    def __init__(self, name: str, cluster: Cluster) -> None:
        self._name = name
        self._cluster = cluster
        self._active: ActiveFault | None = None

    def begun(self, active: ActiveFault) -> None:
        """The node is where it wasn't before, until this is undone."""
        self._active = active
        self._cluster.moved[self._name] = self.undo

    def undo(self) -> None:
        """Have it move back, unless it has, or hasn't moved at all."""
        active, self._active = self._active, None
        if active is not None:
            del self._cluster.moved[self._name]
            active.undo()


def _unready(name: str, context: StepContext) -> str:
    """Why a node takes no pods yet; empty if it does."""
    reader = Reader.of(context)
    node = next((each for each in reader.list(reader.kind("nodes"), None) if each["metadata"]["name"] == name), None)
    if node is None:
        return f"node/{name} does not exist"
    ready = [each for each in node.get("status", {}).get("conditions", ()) if each["type"] == "Ready"]
    if not ready or ready[0]["status"] != "True":
        return f"node/{name} is not Ready: {ready[0].get('message', '') if ready else 'it has not said anything yet'}"
    closed = [taint["key"] for taint in node["spec"].get("taints", ()) if taint["key"] in _NOT_READY]
    return f"node/{name} still has the taint {closed[0]}" if closed else ""

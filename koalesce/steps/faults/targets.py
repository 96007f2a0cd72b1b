"""What a fault is about: nodes, components on them, containers of pods, sides of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, StrictBool, StrictStr, model_validator

from koalesce.models import Model
from koalesce.steps.vantage import FixtureNames, NodeNames, PodsAndNodes

ComponentName = Literal[
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd"
]
CONTROL_PLANE: tuple[ComponentName, ...] = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


class NodesOfIt(Model):
    """Nodes: exactly one of `node` and `nodes`."""

    node: StrictStr | None = None
    """A node by its name."""

    nodes: NodeNames | None = None
    """Several nodes: `all`, `workers`, `controlPlane` or a list of names."""

    @model_validator(mode="after")
    def _exactly_one(self) -> NodesOfIt:
        if (self.node is None) == (self.nodes is None):
            raise ValueError("say exactly one of node and nodes")
        return self

    @property
    def names(self) -> str | list[str]:
        """The names, or a group's."""
        return [self.node] if self.node is not None else (self.nodes or [])


class ComponentOfNodes(NodesOfIt):
    """A component on nodes."""

    component: ComponentName
    """The component, as its program is called."""


class DiskOfNodes(NodesOfIt):
    """A disk of nodes."""

    path: StrictStr
    """Where the nodes have it: a path of their `disks`, or /var/local-path-provisioner with the addon local-path."""


class NodesOrComponents(NodesOfIt):
    """Nodes, or a component on them."""

    component: ComponentName | None = None
    """The component, as its program is called; default: the nodes themselves."""


class Victims(PodsAndNodes):
    """Nodes, a component on them, or containers of pods: exactly one of `pod`, `pods`, `node` and `nodes`."""

    component: ComponentName | None = None
    """The component of the nodes, as its program is called; default: the nodes themselves."""

    @model_validator(mode="after")
    def _component_of_nodes(self) -> Victims:
        if self.component is not None and (self.pod is not None or self.pods is not None):
            raise ValueError("component belongs to nodes")
        return self

    @property
    def names(self) -> str | list[str]:
        """The names of the nodes, or a group's."""
        return [self.node] if self.node is not None else (self.nodes or [])


class MachinesOnWire(Model):
    """Machines in the nodes' network: `node` or `nodes`, `fixture` or `fixtures`, or both of them."""

    node: StrictStr | None = None
    """A node by its name."""

    nodes: NodeNames | None = None
    """Several nodes: `all`, `workers`, `controlPlane` or a list of names."""

    fixture: StrictStr | None = None
    """A machine outside of the cluster, by its name in the spec's `fixtures`."""

    fixtures: FixtureNames | None = None
    """Several of them: `all` or a list of names."""

    @model_validator(mode="after")
    def _someone(self) -> MachinesOnWire:
        nodes, fixtures = (self.node, self.nodes), (self.fixture, self.fixtures)
        if None not in nodes or None not in fixtures:
            raise ValueError("say node or nodes, and fixture or fixtures, not both")
        if nodes == fixtures == (None, None):
            raise ValueError("say which: node, nodes, fixture or fixtures")
        return self

    @property
    def names(self) -> str | list[str]:
        """The names of the nodes, or a group's; none where it's only about fixtures."""
        return [self.node] if self.node is not None else (self.nodes or [])

    def __str__(self) -> str:
        parts = [
            ("node", self.node), ("nodes", self.nodes), ("fixture", self.fixture), ("fixtures", self.fixtures),
        ]  # fmt: skip
        return " and ".join(f"{name} {listed(value)}" for name, value in parts if value is not None)


class Partition(Model):
    """A cut between two sides of the nodes' network."""

    from_: MachinesOnWire = Field(alias="from")
    """One side."""

    to: MachinesOnWire
    """The other side."""

    one_way: StrictBool = False
    """Lose only what `from` sends to `to`; the other way, all goes through."""


def listed(value: str | Sequence[str] | None) -> str:
    """A name, a group's, or several names, in words."""
    return value if isinstance(value, str) else ", ".join(value or ())

"""The ground that policies are tried on: a grid's namespaces and pods in the cluster, and what is in force there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from koalesce.addresses import Family
from koalesce.cluster import Node
from koalesce.netpol.cases import Change, named
from koalesce.netpol.grid import Grid, Place, addressed, labels_of, translated
from koalesce.netpol.policy import parse
from koalesce.netpol.simulator import Pod, World
from koalesce.records import dataclass

_LONGEST = 63


@dataclass(slots=True, kw_only=True)
class Ground:
    """A grid in the cluster. `names` are the cluster's names of the grid's namespaces; `nodes` are those that pods are put on.

    What is noted here is what was asked for: labels, policies (by `namespace/name`, with the grid's names in them) and, once the pods run,
    their addresses.
    """

    grid: Grid
    names: Mapping[str, str]
    nodes: Sequence[Node]
    families: Sequence[Family]
    image: str
    namespace_labels: dict[str, dict[str, str]] = field(default_factory=dict)
    pod_labels: dict[str, dict[str, str]] = field(default_factory=dict)
    policies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begin()

    @classmethod
    def named(cls, grid: Grid, namespace: str, nodes: Sequence[Node], families: Sequence[Family], image: str) -> Ground:
        """The ground of a test, by the name of its namespace, which is its own; other grids of the test have other namespaces."""
        shape = hashlib.sha256(repr((grid, tuple(families), image)).encode()).hexdigest()[:4]
        names = {each: _name(f"{each}-{shape}-", namespace) for each in grid.namespaces}
        return cls(grid=grid, names=names, nodes=nodes, families=families, image=image)

    def begin(self) -> None:
        """Nothing is in force, and labels are the grid's own."""
        self.policies.clear()
        self.namespace_labels = {each: self.grid.namespace_labels(each) for each in self.grid.namespaces}
        self.pod_labels = {str(each): self.grid.pod_labels(each) for each in self.grid.places()}

    def make(self, change: Change) -> None:
        """Note a change; ValueError for a policy that names a pod that isn't there, or makes no sense."""
        coming = {named(each): addressed(each, self.addresses) for each in change.apply}
        for each in coming.values():
            parse(each)
        for gone in change.delete:
            self.policies.pop(gone, None)
        self.policies |= coming
        for namespace, labels in change.namespaces.items():
            self.namespace_labels[namespace] = labels_of(self.namespace_labels[namespace], labels)
        for pod, labels in change.pods.items():
            self.pod_labels[pod] = labels_of(self.pod_labels[pod], labels)

    def anew(self, change: Change) -> Change:
        """A change, and with it the end of all that is in force now."""
        kept = {named(each) for each in change.apply}
        namespaces = {each: _back(self.namespace_labels[each], self.grid.namespace_labels(each)) for each in self.names}
        pods = {str(each): _back(self.pod_labels[str(each)], self.grid.pod_labels(each)) for each in self.grid.places()}
        return Change(
            title=change.title, apply=change.apply, delete=[*(self.policies.keys() - kept), *change.delete],
            namespaces=_merged(namespaces, change.namespaces), pods=_merged(pods, change.pods),
        )  # fmt: skip

    def world(self) -> World:
        """What the simulator is asked about."""
        return World(self.namespace_labels, [parse(each) for each in self.policies.values()])

    def pod(self, place: Place) -> Pod:
        """A pod as the simulator knows it."""
        return Pod(
            namespace=place.namespace, name=place.pod, labels=self.pod_labels[str(place)], node=self.node_of(place).name,
            ports=self.grid.named_ports(place),
        )  # fmt: skip

    def node_of(self, place: Place) -> Node:
        """Where a pod runs: they go round the nodes, so that there are pairs on the same and on different ones."""
        return self.nodes[list(self.grid.places()).index(place) % len(self.nodes)]

    def namespace_objects(self) -> Iterator[dict[str, Any]]:
        """The namespaces as they are applied."""
        for namespace, name in self.names.items():
            yield {
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"ns": namespace, "pod-security.kubernetes.io/enforce": "privileged"}},
            }  # fmt: skip

    def in_cluster(self, policies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Policies as the cluster is given them."""
        return [translated(addressed(each, self.addresses), self.names) for each in policies]

    def pod_object(self, place: Place) -> dict[str, Any]:
        """A pod as it is created. It can't be applied: some of its ports have two names, which an apply takes for one twice."""
        sctp = "SCTP" in self.grid.protocols
        serving = [
            f"/agnhost netexec --http-port={port} --udp-port={port}{f' --sctp-port={port}' if sctp else ''}"
            for port in self.grid.ports
        ]
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [self.node_of(place).name]}]}
        ports = [
            {"name": each.name, "containerPort": each.number, "protocol": each.protocol}
            for each in self.grid.named_ports(place)
        ]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        return {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": place.pod, "namespace": self.names[place.namespace], "labels": self.grid.pod_labels(place),
            },
            "spec": {
                "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "enableServiceLinks": False,
                "tolerations": [{"operator": "Exists"}], "affinity": {"nodeAffinity": required},
                "containers": [{
                    "name": "serve", "image": self.image, "command": ["/bin/sh", "-c", f"{' & '.join(serving[:-1])} & exec {serving[-1]}" if serving[1:] else f"exec {serving[0]}"],
                    "ports": ports,
                }],
            },
        }  # fmt: skip


def _name(prefix: str, namespace: str) -> str:
    """A namespace's name, with the end of the test's, which is what nobody else's has."""
    return prefix + namespace[-(_LONGEST - len(prefix)) :].lstrip("-")


def _back(now: Mapping[str, str], first: Mapping[str, str]) -> dict[str, str | None]:
    """What makes the first labels of those that there are now."""
    gone: dict[str, str | None] = dict.fromkeys(now.keys() - first.keys())
    return {**gone, **{key: value for key, value in first.items() if now.get(key) != value}}


def _merged(
    one: Mapping[str, Mapping[str, str | None]], other: Mapping[str, Mapping[str, str | None]]
) -> dict[str, dict[str, str | None]]:
    both = {key: {**one.get(key, {}), **other.get(key, {})} for key in (*one, *other)}
    return {key: labels for key, labels in both.items() if labels}

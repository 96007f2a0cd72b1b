"""What a spec gets of a cluster provider: `Cluster`, `Node`, `Fixture`; and what it asks of it (`ClusterRequest`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from koalesce import process
from koalesce.cluster_request import (
    ClusterRequest,
    DiskRequest,
    FixtureKind,
    FixtureRequest,
    NodeRequest,
    RegistryRequest,
    Role,
)
from koalesce.errors import ClusterError
from koalesce.records import dataclass

if TYPE_CHECKING:
    from koalesce.kube import Kube

__all__ = [
    "ActiveFault", "Cluster", "ClusterRequest", "DiskRequest", "Fault", "FaultKind", "FaultService", "Fixture", "FixtureRequest", "Machine", "Node", "NodeRequest", "RegistryRequest", "Role",
]  # fmt: skip
FaultKind = Literal[
    "fill-disk", "kill-component", "kill-container", "kill-node", "link-down", "partition", "pause-component", "pause-container", "pause-node",
    "restart-component", "restart-container", "restart-node", "stop-component", "kill-pod", "pause-pod", "restart-pod",
    "degrade-link", "kill-process", "pause-process", "restart-process", "remove-state",
    "add-node", "remove-node",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Something that runs commands: `exec` is the argv prefix that runs one on it, as the provider's contract gives it.

    `address` is the primary one of its `addresses`, of which there is one for each family; left out, it is the only one.
    `logs` maps a component (`kubelet`, `containerd`, `kube-proxy`, `etcd`, …) to the argv (without prefix) that prints its log on the
    machine, `follows` to the argv that, with a number of lines behind it, prints what comes after so many, and then what is added. A log
    that `cat` prints needs none.
    """

    name: str
    address: str
    exec: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    logs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    follows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "addresses", self.addresses or (self.address,))

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes | BinaryIO | None = None,
        stdout: BinaryIO | None = None,
        timeout: float | None = None,
        cancel: process.Cancel | None = None,
    ) -> process.Result:
        """Run a command on the machine as root; see `process.run` for errors. The code is not checked.

        ClusterError where the cluster's provider gives no way to do so (what would run then would run here), and where the machine is
        off: nothing was run then, so that there is no code of a command.
        """
        if not self.exec:
            raise ClusterError(f"the cluster gives no way to run commands on {self.name}")
        result = process.run([*self.exec, *command], stdin=stdin, stdout=stdout, timeout=timeout, cancel=cancel)
        if result.code and self._is_off(result.err):
            raise ClusterError(f"{self.name} is off, or has ended: nothing can be run on it")
        return result

    def _is_off(self, said: str) -> bool:
        """Whether nsenter(1), where that is the way to the machine, has found no namespaces there."""
        places = [word.partition("=")[2] for word in self.exec if word.startswith("--")]
        return any(said.startswith(f"nsenter: cannot open {place}:") for place in places if place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Machine):
    """A machine of the cluster; `pod_cidr` is the first of its `pod_cidrs`, of which there is one for each family."""

    role: Role
    pod_cidr: str = ""
    pod_cidrs: tuple[str, ...] = ()
    is_spare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture(Machine):
    """A machine outside of the cluster, in its nodes' network; a router has the `program` that makes it one."""

    kind: FixtureKind = "host"
    program: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something to do to a cluster, and to what of it.

    `machines` are nodes; with `link-down` and `partition` fixtures, too. `component` belongs to the kinds of a component. `containers`
    are pairs of a node and a container's id of its runtime, `pods` are meant with all of theirs: node, namespace and name. `path` is that of the disk to fill. A partition is between `machines` and
    `others`: with `one_way` only what the first send to the second is lost. `process` is the name of a program. `link` is what a link of
    machines is like (`rate`, `latency` and `jitter` in seconds, `loss` in percent), `state` what is to be removed of a node
    (`koalesce.local.hoststate`).
    """

    kind: FaultKind
    machines: tuple[str, ...] = ()
    component: str = ""
    containers: tuple[tuple[str, str], ...] = ()
    pods: tuple[tuple[str, str, str], ...] = ()
    path: str = ""
    others: tuple[str, ...] = ()
    one_way: bool = False
    process: str = ""
    link: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)


class ActiveFault(Protocol):
    """A fault that has happened."""

    def undo(self) -> None:
        """Undo it and see that it's undone; ClusterError if it can't be. What needs no undo, or has had it, is let go of."""


class FaultService(Protocol):
    """What a provider does to a cluster that is up, so that a test sees how the software bears it."""

    @property
    def kinds(self) -> frozenset[FaultKind]:
        """What it can do."""

    def begin(self, fault: Fault) -> ActiveFault:
        """Have it happen, and see that it has; ClusterError if it can't be, and then nothing of it is left.

        However this process ends, what it has begun is undone at its end at the latest.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster that is up."""

    name: str
    provider: str
    kubernetes: str
    nodes: tuple[Node, ...]
    kubeconfig: Path
    kube: Kube
    dns_ip: str
    capabilities: frozenset[str]
    pod_cidr: str
    service_cidr: str
    fixtures: tuple[Fixture, ...] = ()
    # The argv prefix that runs a command on this machine where the cluster's addresses can be reached (`host`).
    host_exec: tuple[str, ...] = ()
    # The program that looks at the wire, on this machine; None: the toolchain makes it when it is first needed.
    probe: Path | None = None
    # The image of containers by which pods are looked from whose nodes can't be had; empty: the usual one.
    probe_image: str = ""
    # Of those pods, by namespace and name: only one test at a time puts something into one.
    probe_locks: dict[tuple[str, str], threading.Lock] = field(default_factory=dict, repr=False)
    # What its provider can do to it; None: nothing.
    faults: FaultService | None = None
    # The nodes, by name, that aren't part of it as it was made: spare ones that have been added, and others that have been removed; each
    # with what has it move back, which raises ClusterError if it can't.
    moved: dict[str, Callable[[], None]] = field(default_factory=dict)

    @property
    def present(self) -> tuple[Node, ...]:
        """The nodes that are part of it now."""
        return tuple(node for node in self.nodes if node.is_spare == (node.name in self.moved))

    @property
    def is_borrowed(self) -> bool:
        """Whether others made it: it stays, and so does all in it that isn't the run's."""
        return self.provider == "kubeconfig"

    @property
    def may_be_disturbed(self) -> bool:
        """Whether tests may change what isn't theirs (`disruptive: true`)."""
        return not self.is_borrowed or "disruption" in self.capabilities

    @property
    def has_fixed_nodes(self) -> bool:
        """Whether its nodes are those that were asked for; what others made may have an autoscaler."""
        return not self.is_borrowed

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """The ranges of pods, one for each family; the primary one first."""
        return tuple(self.pod_cidr.split(","))

    @property
    def service_cidrs(self) -> tuple[str, ...]:
        """The ranges of Services, one for each family; the primary one first."""
        return tuple(self.service_cidr.split(","))

    def node(self, name: str) -> Node:
        """The node of this name; KeyError if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def workers(self) -> tuple[Node, ...]:
        """The nodes that aren't control plane."""
        return tuple(node for node in self.nodes if node.role == "worker")

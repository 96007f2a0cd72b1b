"""The step `chaos`: do something to nodes, components, containers or the network, and undo it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from koalesce.cluster import ActiveFault, Cluster, Fault, FaultKind
from koalesce.durations import Duration
from koalesce.errors import ClusterError
from koalesce.steps.base import Background, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.faults.targets import (
    ComponentOfMachines,
    Degraded,
    DiskOfNodes,
    MachinesOnWire,
    NodesAndFixtures,
    NodesOfIt,
    Partition,
    Removed,
    Victims,
)
from koalesce.steps.inside.places import fixtures_of, nodes_of, select

KINDS = ("stop", "kill", "pause", "restart", "link_down", "partition", "degrade", "remove", "fill_disk")
_OVER_AT_ONCE = (
    "restart-",
    "kill-component",
    "kill-container",
    "kill-pod",
    "kill-process",
)  # faults that leave nothing to undo


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What a verb is called, by what it's done to."""

    component: FaultKind
    node: FaultKind
    container: FaultKind
    pod: FaultKind
    process: FaultKind


_KINDS: Mapping[str, _Kinds] = {
    "kill": _Kinds("kill-component", "kill-node", "kill-container", "kill-pod", "kill-process"),
    "pause": _Kinds("pause-component", "pause-node", "pause-container", "pause-pod", "pause-process"),
    "restart": _Kinds("restart-component", "restart-node", "restart-container", "restart-pod", "restart-process"),
}


def _lasts(duration: Duration) -> Duration:
    if not duration.seconds:
        raise ValueError("must be longer than 0s")
    return duration


class Chaos(Background, key="chaos"):
    """Do something to nodes, components, containers or the network, and undo it.

    It says exactly one of `stop`, `kill`, `pause`, `restart`, `linkDown`, `partition`, `degrade`, `remove` and `fillDisk`. Only a test that says `disruptive: true` may do this,
    and only on a cluster whose provider can: the capability `chaos` (`requires: [chaos]` skips the test elsewhere). The step is over once the
    fault has happened, and has been seen to. It lasts until a `stop` with its `id`, until the test ends, or, with `for`, until the step itself
    does. It's undone however that ends: also when the run is interrupted or killed. After the test all nodes have to be Ready again, otherwise
    it's an error.
    """

    disturbs: ClassVar[bool] = True

    stop: ComponentOfMachines | None = None
    """End a component (by SIGTERM, then SIGKILL) and don't start it again until the fault ends: `{node: worker-1, component: kubelet}`. An external etcd is on
    fixtures: `{fixture: e1, component: etcd}`."""

    kill: Victims | None = None
    """End it at once. A component is started again by its node. A container (its first process and all others of it) is started again by
    the kubelet, if its pod says so. A node is switched off until the fault ends; then it boots anew, its state lost: its containers,
    images and files are gone, and it has another bootID. The node of the only control plane can't be switched off; of several, most members
    of etcd have to be left, and one that boots anew is taken back as a new member."""

    pause: Victims | None = None
    """Have all processes of a node, of a container, or a component stand still; they go on where they were."""

    restart: Victims | None = None
    """End a component and start it again; or switch a node off and on, as `kill` says. Containers and processes are asked to end (SIGTERM, after five seconds SIGKILL),
    and it's waited until whoever looks after them (a kubelet, an init, their parent) has started them again: an error where nobody does. There is nothing to undo."""

    link_down: MachinesOnWire | None = None
    """Pull the cable: the machine's link to the others has no carrier. Its own interface stays, and pods on it reach each other."""

    partition: Partition | None = None
    """Have all be lost that machines send to each other: `{from: {node: worker-1}, to: {nodes: [worker-2]}}`."""

    degrade: Degraded | None = None
    """Have links of machines be slow, far or lossy: `{node: worker-1, rate: 10mbit}`, `{node: worker-1, latency: 50ms, loss: 2%}`. A rate alone takes the
    capability `tbf`, all else `netem`: kernels may lack them."""

    remove: Removed | None = None
    """Remove what nodes' kernels hold and some software has to keep there: `{nodes: all, route: 10.244.1.0/24}`, `{node: worker-1, chain: KUBE-SERVICES,
    table: nat}`. What isn't there again by itself when the fault ends is put back."""
    fill_disk: DiskOfNodes | None = None
    """Have a disk of nodes, one of those that the spec gives them (`disks`), take nothing more: `{node: worker-1, path: /mnt/data}`.
    What is on it stays; what is removed meanwhile makes room again. A kubelet looks every ten seconds: with /var/lib/kubelet or /var/lib/containerd full, its
    node soon has DiskPressure, and some seconds after the fault no more. Pods are ended meanwhile, but a kubelet without any room can't write that down: they
    count as evicted only after the fault."""

    lasts: Annotated[Duration, AfterValidator(_lasts)] | None = Field(default=None, alias="for")
    """How long it lasts: the step ends then, and the fault with it. Default: until a `stop` with its id, or the test's end."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Chaos:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            names = ", ".join(type(self).model_fields[name].alias or name for name in KINDS)
            raise ValueError(f"say exactly one of {names}")
        if self.lasts is not None and self.id is not None:
            raise ValueError("with for, there is nothing to stop: leave out id or for")
        return self

    @property
    def lasting(self) -> Duration | None:
        """How long it lasts."""
        return self.lasts

    @property
    def kind(self) -> FaultKind:
        """What is asked of the provider."""
        if self.fill_disk is not None:
            return "fill-disk"
        if self.link_down is not None:
            return "link-down"
        if self.partition is not None:
            return "partition"
        if self.degrade is not None or self.remove is not None:
            return "degrade-link" if self.degrade is not None else "remove-state"
        verb, victims = self._victims
        if not isinstance(victims, Victims):
            return "stop-component"
        kind = _KINDS[verb]
        if victims.component is not None:
            return kind.component
        if victims.process is not None:
            return kind.process
        if victims.of_containers:
            return kind.pod if victims.whole else kind.container
        return kind.node

    @property
    def _victims(self) -> tuple[str, ComponentOfMachines | Victims]:
        given = {"stop": self.stop, "kill": self.kill, "pause": self.pause, "restart": self.restart}
        return next((verb, victims) for verb, victims in given.items() if victims is not None)

    def ongoing(self) -> str:
        """The fault, unless it's over with the step."""
        is_over = self.lasts is not None or self.kind.startswith(_OVER_AT_ONCE)
        return self.id or ("" if is_over else self.title())

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A provider that can."""
        return frozenset({"chaos"})

    def title(self) -> str:
        """What it does, to what."""
        if self.fill_disk is not None:
            return f"fill {self.fill_disk.path} of {_in_words(self.fill_disk)}"
        if self.link_down is not None:
            return f"pull the cable of {self.link_down}"
        if (cut := self.partition) is not None:
            return f"cut {cut.from_} {'off from' if not cut.one_way else 'short of'} {cut.to}"
        if self.degrade is not None:
            return f"degrade the link of {self.degrade}: {self.degrade.in_words()}"
        if self.remove is not None:
            return f"remove {self.remove.in_words()} from {_in_words(self.remove)}"
        verb, victims = self._victims
        if isinstance(victims, Victims) and victims.of_containers:
            return f"{verb} {victims.place()}{' as a whole' if victims.whole else ''}"
        what = victims.component or (victims.process if isinstance(victims, Victims) else None)
        return f"{verb} {what} on {_in_words(victims)}" if what else f"{verb} {_in_words(victims)}"

    def start(self, context: StepContext) -> Disturbing | Failed | Errored:
        """Find out what it's about, and have it done."""
        service = context.cluster.faults
        if service is None or self.kind not in service.kinds:
            return Errored(f"the provider {context.cluster.provider} can't do this ({self.kind})", final=True)
        fault = self._fault(context)
        if not isinstance(fault, Fault):
            return fault
        try:
            return Disturbing(service.begin(fault), self.title())
        except ClusterError as error:
            return Errored(str(error), final=True)

    def _fault(self, context: StepContext) -> Fault | Failed | Errored:
        cluster = context.cluster
        if self.link_down is not None:
            machines = _machines(self.link_down, cluster)
            return machines if isinstance(machines, Errored) else Fault(kind=self.kind, machines=machines)
        if self.partition is not None:
            return _cut(self.partition, cluster)
        if self.degrade is not None:
            machines = _machines(self.degrade, cluster)
            if isinstance(machines, Errored):
                return machines
            return Fault(kind=self.kind, machines=machines, link=self.degrade.link())
        if self.fill_disk is not None:
            filled = _machines(self.fill_disk, cluster)
            if isinstance(filled, Errored):
                return filled
            return Fault(kind=self.kind, machines=filled, path=self.fill_disk.path)
        victims = self.remove or self._victims[1]
        if isinstance(victims, Victims) and victims.of_containers:
            return self._fault_of_containers(victims, context)
        names = _machines(victims, cluster)
        if isinstance(names, Errored):
            return names
        if isinstance(victims, Removed):
            return Fault(kind=self.kind, machines=names, state=victims.state())
        process = victims.process if isinstance(victims, Victims) else None
        return Fault(kind=self.kind, machines=names, component=victims.component or "", process=process or "")

    def _fault_of_containers(self, victims: Victims, context: StepContext) -> Fault | Failed | Errored:
        sources = select(victims, context)
        if isinstance(sources, Failed | Errored):
            return sources
        unknown = [source.name for source in sources if source.node is None]
        if unknown:
            return Errored(f"the node of pod {unknown[0]} can't be reached", final=True)
        known = [(source.node.name, source) for source in sources if source.node is not None]
        if victims.whole:
            return Fault(kind=self.kind, pods=tuple((node, each.namespace, each.pod) for node, each in known))
        return Fault(kind=self.kind, containers=tuple((node, each.container_id) for node, each in known))


class Disturbing:
    """A fault that lasts."""

    def __init__(self, fault: ActiveFault, title: str) -> None:
        self._fault = fault
        self._title = title

    value = None

    def stop(self) -> Outcome:
        """Undo it."""
        try:
            self._fault.undo()
        except ClusterError as error:
            return Errored(f"could not be undone: {error}", final=True)
        return Passed("undone")


def _in_words(target: NodesOfIt | NodesAndFixtures | Victims) -> str:
    return target.place() if isinstance(target, Victims) else str(target)


def _cut(partition: Partition, cluster: Cluster) -> Fault | Errored:
    near, far = _machines(partition.from_, cluster), _machines(partition.to, cluster)
    if isinstance(near, Errored):
        return near
    if isinstance(far, Errored):
        return far
    if both := sorted({*near} & {*far}):
        return Errored(f"{', '.join(both)} can't be cut off from itself", final=True)
    return Fault(kind="partition", machines=near, others=far, one_way=partition.one_way)


def _machines(where: NodesOfIt | NodesAndFixtures | Victims, cluster: Cluster) -> tuple[str, ...] | Errored:
    nodes = nodes_of(where.names, cluster) if where.names else []
    if isinstance(nodes, Errored):
        return nodes
    outside = [] if isinstance(where, NodesOfIt) else where.outside
    fixtures = fixtures_of(outside, cluster) if outside else []
    if isinstance(fixtures, Errored):
        return fixtures
    return (*(node.name for node in nodes), *(fixture.name for fixture in fixtures))

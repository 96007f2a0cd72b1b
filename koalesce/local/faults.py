"""What a cluster's supervisor does to it when it is asked to, and how each of it is undone."""

from __future__ import annotations

import contextlib
import functools
import itertools
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import Any

from koalesce import process
from koalesce.errors import ClusterError, UsageError
from koalesce.local import cgroups, components, containers, disks, membership, netns, network, processes, shaping
from koalesce.local.bringup import Bringup
from koalesce.local.containers import Containers
from koalesce.local.egress import nft
from koalesce.local.hoststate import host_state
from koalesce.local.netns import NetNamespace
from koalesce.local.node import RunningNode, exec_prefix
from koalesce.records import dataclass

Undo = Callable[[], None]
_FREEZING = 10.0
_RESOLUTION = ("ether type arp", "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }")
_COMMAND_PATIENCE = 20.0


@dataclass(slots=True)
class Faults:
    """The faults of one cluster that is up. What is disturbed already isn't disturbed a second time in the same way."""

    bringup: Bringup
    _held: set[tuple[str, ...]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    # Nodes end with the thread that has made them: this one lives as long as the supervisor.
    _boots: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="boots"))

    def begin(self, wanted: Mapping[str, Any]) -> Undo:
        """Have a fault (the fields of `koalesce.cluster.Fault`) happen; returns what undoes it. KoalesceError if it can't be."""
        kind = wanted["kind"]
        with contextlib.ExitStack() as undos:
            for act in self._acts(kind, wanted):
                act(undos)
            return undos.pop_all().close

    def _acts(self, kind: str, wanted: Mapping[str, Any]) -> Iterator[Callable[[contextlib.ExitStack], None]]:
        """What is to be done, one thing at a time; each adds its undo before it begins."""
        machines, component = wanted["machines"], wanted["component"]
        on_components = {
            "stop-component": self._stop, "kill-component": self._kill, "pause-component": self._pause,
            "restart-component": self._restart,
        }  # fmt: skip
        on_nodes = {"kill-node": self._cut_power, "restart-node": self._reboot, "pause-node": self._freeze}
        on_containers = (
            "kill-container",
            "pause-container",
            "restart-container",
            "kill-pod",
            "pause-pod",
            "restart-pod",
        )
        if kind in ("add-node", "remove-node"):
            move = self._add if kind == "add-node" else self._remove_node
            yield from (lambda undos, name=name: move(undos, name) for name in machines)
        elif act := on_components.get(kind):
            yield from (lambda undos, name=name: act(undos, self._machine(name), component) for name in machines)
        elif do := on_nodes.get(kind):
            yield from (lambda undos, name=name: do(undos, self._node(name)) for name in machines)
        elif kind in on_containers:
            yield lambda undos: self._hurt_containers(undos, kind.partition("-")[0], wanted)
        elif kind in ("kill-process", "pause-process"):
            end = self._kill_process if kind == "kill-process" else self._pause_process
            yield from (
                lambda undos, name=name: end(undos, self._machine(name), wanted["process"]) for name in machines
            )
        elif kind == "restart-process":
            yield lambda _undos: self._restart_process(machines, wanted["process"])
        elif kind == "remove-state":
            yield from (
                lambda undos, name=name: self._remove(undos, self._node(name), wanted["state"]) for name in machines
            )
        elif kind == "degrade-link":
            words = shaping.discipline(wanted["link"])
            yield from (lambda undos, name=name: self._degrade(undos, name, words) for name in machines)
        elif kind == "fill-disk":
            yield from (
                lambda undos, name=name: self._fill(undos, self._node(name), wanted["path"]) for name in machines
            )
        elif kind == "link-down":
            yield from (lambda undos, name=name: self._unplug(undos, name) for name in machines)
        elif kind == "partition":
            yield lambda undos: self._part(undos, machines, wanted["others"], one_way=wanted["one_way"])
        else:
            raise UsageError(f"a local cluster knows no fault {kind}")

    def _node(self, name: str) -> RunningNode:
        """A node that runs and answers."""
        bringup = self.bringup
        if name not in bringup.nodes:
            raise ClusterError(f"there is no node {name}; there are: {', '.join(bringup.nodes)}")
        if name in bringup.gone:
            raise ClusterError(f"{name} is switched off")
        if ("paused", name) in self._held:
            raise ClusterError(f"{name} is paused")
        return bringup.nodes[name]

    def _machine(self, name: str) -> RunningNode:
        """A node or a fixture that runs and answers."""
        if (fixture := self.bringup.fixtures.get(name)) is None:
            return self._node(name)
        if name in self.bringup.gone:
            raise ClusterError(f"{name} has ended")
        return fixture

    def _hold(self, undos: contextlib.ExitStack, what: str, *key: str) -> None:
        """Note that something is disturbed, until it's undone."""
        with self._lock:
            if key in self._held:
                raise ClusterError(f"{what} already")
            self._held.add(key)
        undos.callback(self._held.discard, key)

    def _stop(self, undos: contextlib.ExitStack, node: RunningNode, component: str) -> None:
        components.check(node, component)
        self._hold(undos, f"{component} on {node.name} is stopped", "stopped", node.name, component)
        undos.callback(self._if_same, node, lambda: components.start(node, component))
        components.stop(node, component)

    def _kill(self, _undos: contextlib.ExitStack, node: RunningNode, component: str) -> None:
        components.check(node, component)
        components.kill(node, component)

    def _restart(self, _undos: contextlib.ExitStack, node: RunningNode, component: str) -> None:
        components.check(node, component)
        components.stop(node, component)
        components.start(node, component)

    def _pause(self, undos: contextlib.ExitStack, node: RunningNode, component: str) -> None:
        components.check(node, component)
        self._hold(undos, f"{component} on {node.name} is paused", "paused", node.name, component)
        undos.callback(self._if_same, node, lambda: components.resume(node, component))
        components.pause(node, component)

    def _cut_power(self, undos: contextlib.ExitStack, node: RunningNode) -> None:
        self._check_power(node)
        self._hold(undos, f"{node.name} is switched off", "off", node.name)
        undos.callback(self._boot, node.name)
        self.bringup.cut_power(node.name)

    def _reboot(self, _undos: contextlib.ExitStack, node: RunningNode) -> None:
        self._check_power(node)
        self.bringup.cut_power(node.name)
        self._boot(node.name)

    def _check_power(self, node: RunningNode) -> None:
        """Raise ClusterError for what etcd could not lose: of its members most have to be left."""
        members = [member.name for member in self.bringup.request.members]
        left = [name for name in members if name != node.name and not self._is_disturbed(name)]
        if node.name in members and len(left) <= len(members) // 2:
            raise ClusterError(f"{node.name} holds the cluster's state, which would be lost: it can't be switched off")

    def _is_disturbed(self, name: str) -> bool:
        """Whether a member of etcd can't do its part: its machine is off, apart or stands still, or it does itself."""
        keys = {("paused", name), ("unplugged", name), ("paused", name, "etcd"), ("stopped", name, "etcd")}
        return name in self.bringup.gone or bool(keys & self._held)

    def _boot(self, name: str) -> None:
        self._boots.submit(self.bringup.boot, name).result()

    def _add(self, undos: contextlib.ExitStack, name: str) -> None:
        membership.check_new(self.bringup, name)
        self._hold(undos, f"{name} is being added or removed", "moved", name)
        undos.callback(membership.leave, self.bringup, name)
        membership.join(self.bringup, name, self._boot)

    def _remove_node(self, undos: contextlib.ExitStack, name: str) -> None:
        self._node(name)
        membership.check_leaving(self.bringup, name)
        self._hold(undos, f"{name} is being added or removed", "moved", name)
        undos.callback(self._bring_back, name, membership.node_of(self.bringup, name))
        membership.leave(self.bringup, name)

    def _bring_back(self, name: str, before: Mapping[str, Any]) -> None:
        membership.join(self.bringup, name, self._boot, before)
        membership.await_ready(self.bringup, name)

    def _freeze(self, undos: contextlib.ExitStack, node: RunningNode) -> None:
        self._hold(undos, f"{node.name} is paused", "paused", node.name)
        groups = self.bringup.groups(node.name)
        undos.callback(cgroups.thaw, groups)
        cgroups.freeze(groups, seconds=_FREEZING)

    def _fill(self, undos: contextlib.ExitStack, node: RunningNode, path: str) -> None:
        spec = next(spec for spec in self.bringup.request.nodes if spec.name == node.name)
        sizes = {disk.path: disk.size for disk in spec.disks}
        if path not in sizes:
            raise ClusterError(f"{node.name} has no disk {path}; it has {', '.join(sizes) or 'none'}")
        self._hold(undos, f"{path} of {node.name} is full", "full", node.name, path)
        on_node = functools.partial(self._on, node)
        undos.callback(self._if_same, node, lambda: disks.empty(on_node, path, sizes[path]))
        disks.fill(on_node, path)

    def _unplug(self, undos: contextlib.ExitStack, name: str) -> None:
        link = self._link(name)
        self._hold(undos, f"the link of {name} is down", "unplugged", name)
        undos.callback(netns.ip, f"link set {link} up")
        netns.ip(f"link set {link} down")

    def _degrade(self, undos: contextlib.ExitStack, name: str, words: list[str]) -> None:
        """Have both ends of a link delay, lose or hold back what they send: that of the fabric, and the machine's own."""
        link = self._link(name)
        machine = self._machine(name)
        self._hold(undos, f"the link of {name} is degraded", "degraded", name)
        shaping.shape(link, words)
        undos.callback(self._if_same, machine, lambda: shaping.unshape(link))
        inside = NetNamespace.of_process(machine.pid)
        undos.callback(inside.close)
        with inside.entered():
            shaping.shape("eth0", words)

        def clear() -> None:
            with inside.entered():
                shaping.unshape("eth0")

        undos.callback(self._if_same, machine, clear)

    def _if_same(self, machine: RunningNode, undo: Undo) -> None:
        """Undo something of a machine, unless it has been made anew since, with everything on it."""
        now = {**self.bringup.nodes, **self.bringup.fixtures}[machine.name]
        if now is machine and not machine.has_ended:
            undo()

    def _remove(self, undos: contextlib.ExitStack, node: RunningNode, wanted: Mapping[str, Any]) -> None:
        state = host_state(wanted)
        run = self._runner(node)
        before = state.take(run)
        undos.callback(self._if_same, node, lambda: state.put_back(run, before))

    def _kill_process(self, _undos: contextlib.ExitStack, node: RunningNode, name: str) -> None:
        processes.kill(self._runner(node), name)

    def _restart_process(self, names: Sequence[str], process_name: str) -> None:
        runners = [self._runner(self._machine(name)) for name in names]
        ended = [(name, run, processes.end(run, process_name)) for name, run in zip(names, runners, strict=True)]
        for name, run, before in ended:
            processes.await_another(run, process_name, before, where=name)

    def _pause_process(self, undos: contextlib.ExitStack, node: RunningNode, name: str) -> None:
        run = self._runner(node)
        self._hold(undos, f"{name} on {node.name} is paused", "paused", node.name, "process", name)
        pids = processes.of_name(run, name)
        undos.callback(self._if_same, node, lambda: processes.signal(run, pids, "CONT"))
        processes.signal(run, pids, "STOP")

    def _runner(self, node: RunningNode) -> Callable[[Sequence[str], str], str]:
        return lambda words, text: self._on(node, *words, text=text)

    def _part(self, undos: contextlib.ExitStack, near: Sequence[str], far: Sequence[str], *, one_way: bool) -> None:
        """Have the bridge between the machines drop what one side sends to the other."""
        self._check_links(near, far)
        table = f"koalesce_{next(self._numbers)}"
        pairs = [(self._link(one), self._link(other)) for one in near for other in far]
        self._nft(partition(table, pairs, one_way=one_way))  # all of it or nothing
        undos.callback(self._nft, f"delete table bridge {table}\n")

    def _check_links(self, near: Sequence[str], far: Sequence[str]) -> None:
        request = self.bringup.request
        subnets = {node.name: node.subnet for node in request.nodes}
        subnets |= {fixture.name: fixture.subnet for fixture in request.fixtures}
        for one in near:
            for other in far:
                if subnets.get(one, "") != subnets.get(other, ""):
                    raise ClusterError(
                        f"{one} and {other} are in different subnets, between which nothing can be cut apart",
                        hint="take down the link of one of them (linkDown)",
                    )

    def _link(self, name: str) -> str:
        request = self.bringup.request
        links = {node.name: network.node_link(number) for number, node in enumerate(request.nodes)}
        links |= {fixture.name: network.fixture_link(number) for number, fixture in enumerate(request.fixtures)}
        if name not in links:
            raise ClusterError(f"there is no machine {name}; there are: {', '.join(links)}")
        return links[name]

    def _nft(self, text: str) -> None:
        command, environment = nft(self.bringup.tools)
        done = subprocess.run(
            [*command, "-f", "-"], input=text, capture_output=True, text=True, env=environment, timeout=20, check=False
        )
        if done.returncode:
            raise ClusterError(
                f"nftables refuses what parts machines: {done.stderr.strip()}",
                hint="the kernel needs nftables for bridges (CONFIG_NF_TABLES_BRIDGE)",
            )

    def _hurt_containers(self, undos: contextlib.ExitStack, verb: str, wanted: Mapping[str, Any]) -> None:
        """Kill, pause or restart containers: those that are said, and all of pods that are."""
        found: dict[str, list[str]] = {}
        for node, container in wanted["containers"]:
            found.setdefault(node, []).append(container)
        for node, namespace, name in wanted.get("pods") or ():
            listed = self._containers(node).of_pod(namespace, name, with_sandbox=verb != "pause")
            found.setdefault(node, []).extend(listed)
        if verb == "pause":
            for node, ids in found.items():
                for container in ids:
                    self._pause_container(undos, self._node(node), container)
            return
        coming = [
            one for node, ids in found.items() if verb == "restart" for one in self._containers(node).successors(ids)
        ]
        for node, ids in found.items():
            of_node = self._containers(node)
            (of_node.kill if verb == "kill" else of_node.end)(ids)
        containers.await_all(coming)

    def _containers(self, name: str) -> Containers:
        node = self._node(name)
        return Containers(node.name, self._runner(node))

    def _pause_container(self, undos: contextlib.ExitStack, node: RunningNode, container: str) -> None:
        of_node = Containers(node.name, self._runner(node))
        of_node.check(container)
        self._hold(undos, f"the container is paused on {node.name}", "paused", node.name, container)
        undos.callback(self._if_same, node, lambda: of_node.resume(container))
        of_node.pause(container)

    def _on(self, node: RunningNode, *command: str, text: str = "") -> str:
        words = [*exec_prefix(f"/proc/{node.pid}"), *command]
        done = process.run(words, stdin=text.encode() if text else None, timeout=_COMMAND_PATIENCE)
        if done.code:
            raise ClusterError(f"{node.name}: {' '.join(command)}: {done.err.strip() or f'exit code {done.code}'}")
        return done.out


def partition(table: str, pairs: Sequence[tuple[str, str]], *, one_way: bool) -> str:
    """The input of nft that drops what goes from link to link on a bridge.

    One way, addresses are still resolved (ARP, neighbour discovery): otherwise nothing would go the other way either.
    """
    resolved = "".join(f"    {packets} accept\n" for packets in _RESOLUTION) if one_way else ""
    both = [*pairs, *(() if one_way else ((far, near) for near, far in pairs))]
    rules = "".join(f'    iifname "{near}" oifname "{far}" counter drop\n' for near, far in both)
    return f"table bridge {table} {{\n  chain forward {{\n    type filter hook forward priority 0;\n{resolved}{rules}  }}\n}}\n"

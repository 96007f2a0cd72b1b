"""Brings a local cluster up: checks the machine, makes network and nodes, and has everything on them started."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import field, replace
from pathlib import Path

from koalesce import pki as certificates
from koalesce.errors import ClusterError, KoalesceError, ProvisionError
from koalesce.local import cgroups, machine, netns, network, nodeplan, outside, resolvers, resources, routers
from koalesce.local.api import Api, Deadline
from koalesce.local.backends import Backends
from koalesce.local.cgroups import Layout
from koalesce.local.control_start import said
from koalesce.local.datastore import Seeds
from koalesce.local.egress import Egress, nft
from koalesce.local.forwarder import Forwarder
from koalesce.local.ledger import Ledger, Process, Thing
from koalesce.local.mirror import Mirror
from koalesce.local.netns import NetNamespace
from koalesce.local.node import Ended, RunningNode
from koalesce.local.nodeinit import LOGS, InitConfig
from koalesce.local.phases import Phases
from koalesce.local.request import API_PORT, MIRROR_PORT, LocalRequest, NodeSpec
from koalesce.local.served import Served
from koalesce.local.starting import Start
from koalesce.local.sysctls import FORWARDING, NEEDED, SharedSettings, settings
from koalesce.pki import Pki, PkiRequest
from koalesce.records import dataclass
from koalesce.toolchain import ImageStore, LocalTools

_log = logging.getLogger(__name__)
_TOO_OFTEN = 4
_BOOT_PATIENCE = 60.0
LOGS_BELOW = f"var{LOGS.removeprefix('/var')}"  # what a node's services wrote, below its folder
_CGROUP_PATIENCE = 5.0
_FIXTURE_PATIENCE = 30.0


@dataclass(slots=True)
class Bringup:
    """A cluster in the making, and what stays of it as long as it runs. Must be used from a thread that outlives the nodes."""

    request: LocalRequest
    tools: LocalTools
    store: ImageStore
    ledger: Ledger
    folder: Path
    seeds: Path
    phases: Phases
    stopping: threading.Event
    on_ended: Callable[[Ended], None]
    nodes: dict[str, RunningNode] = field(default_factory=dict)
    fixtures: dict[str, RunningNode] = field(default_factory=dict)
    forwarder: Forwarder | None = None
    balancer: Forwarder | None = None
    mirror: Mirror | None = None
    failures: list[Ended] = field(default_factory=list)
    capabilities: frozenset[str] = frozenset()
    gone: set[str] = field(default_factory=set)
    _on_disk: bool = True
    _layout: Layout | None = None
    _mark: str = ""
    _start: Start | None = None
    _power: threading.Lock = field(default_factory=threading.Lock)
    _egress: Egress | None = None
    _host: NetNamespace | None = None
    _fabric: NetNamespace | None = None

    def run(self) -> None:
        """Make the cluster; KoalesceError if it can't be made. What was made until then is in the ledger."""
        request = self.request
        with self.phases.phase("machine"):
            self._layout = layout = machine.check(self.folder)
            if problems := resources.problems(request.nodes):
                raise ProvisionError(problems[0], hint="say less under nodes, or use another machine")
            (self.folder / "nodes").mkdir(parents=True, exist_ok=True)
            os.chmod(self.folder, 0o700)  # noqa: PTH101
            for worry in (*machine.outdated(wanted_of_kernel(request, layout)), *machine.worries(self.folder)):
                self.phases.say(f"{worry.text}; {worry.hint}")
            machine.load_modules()
            self._on_disk = machine.takes_overlays(self.folder)
            listening = _listen("127.0.0.1", request.port)
            if low := SharedSettings().raise_for(self.folder, Process.of(os.getpid()), NEEDED):
                self.phases.say(f"limits of inotify are low and can't be raised from here: {settings(low, NEEDED)}")
        with self.phases.phase("network"):
            self._host = NetNamespace.of_process("self")
            netns.new()
            self._fabric = NetNamespace.of_process("self")
            machine.leave_bridges_alone()
            machine.set_sysctls(network.fabric_sysctls(request.families))
            virtual = [request.api_address] if request.has_failover else []
            netns.ip(*network.fabric(request.families, *virtual), *network.subnets(request))
            self.mirror = Mirror(
                self.store, (request.gateway, MIRROR_PORT), fetch=self._fetch, users=request.registries,
                served=Served(self.folder).note,
            )  # fmt: skip
            self.mirror.start()
            backends = Backends([node.address for node in request.controls])
            self.forwarder = self._forward(listening, backends)
            if request.has_failover:
                self.balancer = self._forward(_listen(request.api_address, API_PORT), backends)
        if request.egress == "host":
            with self.phases.phase("egress"):
                self._open_egress()
        with self.phases.phase("certificates"):
            self._start_inits()  # interpreters too, which load meanwhile
            pki = self._pki()
        if request.has_failover:
            backends.watch(pki, self.stopping)
        with self.phases.phase("nodes"):
            self._make_nodes(layout, pki)
        self._start = Start(
            request=request,
            tools=self.tools,
            nodes=self.nodes,
            fixtures=self.fixtures,
            pki=pki,
            seeds=Seeds(self.seeds, request),
            phases=self.phases,
            deadline=Deadline(request.timeout, self._check),
            stopping=self.stopping,
            cgroup_version=layout.version,
        )
        self.capabilities = self._start.run()
        for fixture in request.fixtures:  # they had all the cluster's start to begin
            node, deadline = self.fixtures[fixture.name], Deadline(_FIXTURE_PATIENCE, self._check)
            if fixture.router:
                routers.await_answer(node, fixture.router, deadline)
            if fixture.resolver:
                resolvers.await_answer(node, fixture.address, fixture.resolver, deadline)
        (self.folder / "kubeconfig").touch(mode=0o600)
        (self.folder / "kubeconfig").write_text(pki.kubeconfig("admin", f"https://127.0.0.1:{self.forwarder.port}"))

    def _forward(self, listening: socket.socket, backends: Backends) -> Forwarder:
        assert self._fabric is not None  # noqa: S101 - set before
        forwarder = Forwarder(listening, self._fabric, backends.in_turn)
        backends.on_lost.append(forwarder.drop)
        forwarder.start()
        return forwarder

    def _pki(self) -> Pki:
        request = self.request
        wanted = PkiRequest(
            nodes={node.name: node.addresses for node in request.nodes} if request.schedulable else {},
            api_names=request.api_names,
            etcd_names=request.etcd_names,
        )
        return certificates.create(request.pki_dir or self.folder / "pki", wanted)

    def _open_egress(self) -> None:
        assert self._host is not None  # noqa: S101 - set before
        self._egress = Egress.named(secrets.token_hex(3), self._host, self.tools)
        self.ledger.record(self.request.name, Thing("link", self._egress.link))
        with self._host.entered():
            if SharedSettings().raise_for(self.folder, Process.of(os.getpid()), FORWARDING):
                hint = f"on the machine itself: sysctl -w {settings(FORWARDING, FORWARDING)}"
                raise ProvisionError("this machine doesn't forward, and that can't be changed from here", hint=hint)
            chains, table = outside.filters(*nft(self.tools)), outside.routes()
        self._egress.open()
        if chains and not self._egress.lets_through():
            names = ", ".join(map(str, chains))
            if outside.ways_out(table) and not any(chain.exceptions for chain in chains):
                message = f"egress: host: the firewall of this machine forwards nothing for the cluster ({names})"
                raise ProvisionError(message, hint=outside.REMEDY)
            self.phases.say(
                f"this machine forwards for the cluster only what its firewall names ({names}); {outside.REMEDY}"
            )
        others = outside.claimed(table)
        if others:
            self.phases.say(f"{outside.out_of_reach(others)}; {outside.OTHER_ADDRESSES}")

    def _start_inits(self) -> None:
        for spec in self.request.first_nodes:
            self.nodes[spec.name] = self._started(spec.name, self.folder / "nodes" / spec.name)
        for fixture in self.request.fixtures:
            self.fixtures[fixture.name] = self._started(fixture.name, self.folder / "fixtures" / fixture.name)

    def _make_nodes(self, layout: cgroups.Layout, pki: Pki) -> None:
        request = self.request
        self._mark = mark = f"{request.name}-{secrets.token_hex(3)}"
        self.ledger.record(request.name, *(Thing("cgroup", str(path)) for path in layout.folders(mark)))
        self.phases.groups = layout.folders(mark)
        for number, spec in enumerate(request.nodes):
            if not spec.spare:
                self._make_node(number, spec, layout, pki)
        for number, fixture in enumerate(request.fixtures):
            folder, groups = self.folder / "fixtures" / fixture.name, cgroups.make(layout, mark, fixture.name)
            config = nodeplan.plan_fixture(
                request, fixture, self.tools, pki, folder=folder, layout=layout, cgroups=groups
            )
            port = (network.fixture_link(number), network.bridge_of(fixture.subnet, request))
            self._join(self.fixtures[fixture.name], config, folder, port, network.fixture_uplink(request, fixture))
        for _, node in self._machines():
            node.wait_up()
        for fixture in request.fixtures:
            if fixture.router:
                routers.start(self.fixtures[fixture.name], fixture.router)
            if fixture.resolver:
                resolvers.start(self.fixtures[fixture.name])

    def _make_node(self, number: int, spec: NodeSpec, layout: Layout, pki: Pki) -> None:
        share = resources.shares(self.request.nodes)[spec.name]
        folder, groups = self.folder / "nodes" / spec.name, cgroups.make(layout, self._mark, spec.name)
        share.enforce(layout, groups)
        config = nodeplan.plan(
            self.request, spec, self.tools, pki,
            folder=folder, layout=layout, cgroups=groups, on_disk=self._on_disk, share=share,
        )  # fmt: skip
        port = (network.node_link(number), network.bridge_of(spec.subnet, self.request))
        self._join(self.nodes[spec.name], config, folder, port, network.uplink(self.request, spec))

    def _started(self, name: str, folder: Path) -> RunningNode:
        """The process of a node or a fixture, which waits to be told what it is."""
        for part in ("root", "var/cache", "var/lib", "var/log", "var/tmp"):
            (folder / part).mkdir(parents=True)
        (folder / "var/tmp").chmod(0o1777)
        return RunningNode(name, folder / "var", on_ended=self._note)

    def _join(
        self, node: RunningNode, config: InitConfig, folder: Path, port: tuple[str, str], uplink: list[str]
    ) -> None:
        """Tell a node or a fixture what it is, and join it to the fabric: by a link of this name, at this bridge."""
        node.begin(config)
        (folder / "process").symlink_to(f"/proc/{node.pid}")
        link, bridge = port
        netns.ip(*network.port(link, node.pid, bridge))
        inside = NetNamespace.of_process(node.pid)
        with inside.entered():
            netns.ip(*uplink)
        inside.close()

    def _machines(self) -> Iterator[tuple[Path, RunningNode]]:
        """The nodes and the fixtures, each with its folder."""
        for kind, found in (("nodes", self.nodes), ("fixtures", self.fixtures)):
            yield from ((self.folder / kind / name, node) for name, node in found.items())

    def _fetch(self, reference: str) -> None:
        assert self._host is not None  # noqa: S101 - set before the mirror starts
        with self._host.entered():
            self.store.pull(reference, cancel=self.stopping)

    def _note(self, ended: Ended) -> None:
        self.failures.append(ended)
        self.on_ended(ended)

    def _check(self) -> None:
        """Raise when waiting is of no use: we are asked to stop, or something does not stay up."""
        if self.stopping.is_set():
            raise ProvisionError("asked to stop while the cluster was being made")
        for ended in self.failures:
            if ended.exits >= _TOO_OFTEN:
                raise self.explain(ended)

    def explain(self, ended: Ended) -> KoalesceError:
        """Why a service does not stay up: the last that it wrote."""
        tail = said({**self.nodes, **self.fixtures}[ended.node], ended.service)
        return ClusterError(f"{ended.service} does not stay up, it ended with code {ended.code}\n{tail}".rstrip())

    def look(self) -> None:
        """Note when a node or a fixture has ended by itself, and lead no command to its pid, which another process may get."""
        for folder, node in self._machines():
            if node.has_ended and node.name not in self.gone:
                self.gone.add(node.name)
                (folder / "process").unlink(missing_ok=True)
                _log.warning("%s has ended", node.name)

    def groups(self, name: str) -> list[Path]:
        """The cgroups of a node."""
        return self._layout.folders(self._mark, name) if self._layout else []

    def cut_power(self, name: str) -> None:
        """End a node at once, with all that runs on it."""
        with self._power:
            folder, node = self.folder / "nodes" / name, self.nodes[name]
            self.gone.add(name)
            (folder / "process").unlink(missing_ok=True)
            node.kill()
            cgroups.thaw(self.groups(name))
            node.wait_ended()

    def boot(self, name: str) -> None:
        """Make a node that has ended anew, without anything that it knew, or one that was never made, and start what runs on it.

        Called from a thread that outlives it, in the cluster's network namespace.
        """
        with self._power:
            assert self._start is not None and self._layout is not None  # noqa: S101, PT018 - the cluster is up
            if self.stopping.is_set():
                return
            folder = self.folder / "nodes" / name
            number, spec = next((n, spec) for n, spec in enumerate(self.request.nodes) if spec.name == name)
            cgroups.remove(self.groups(name), seconds=_CGROUP_PATIENCE)
            with contextlib.suppress(ProvisionError):  # it is gone with the node's namespace, or just going
                netns.ip(f"link del {network.node_link(number)}")
            logs = _saved_logs(folder) if folder.exists() else None
            shutil.rmtree(folder, ignore_errors=logs is None)
            node = self.nodes[name] = self._started(name, folder)
            if logs is not None:
                logs.rename(folder / LOGS_BELOW)
            self._make_node(number, spec, self._layout, self._start.pki)
            node.wait_up()
            self.gone.discard(name)
            self.failures.clear()
            deadline = Deadline(_BOOT_PATIENCE, self._check)
            replace(self._start, deadline=deadline).boot(spec)

    def api(self) -> Api:
        """The API of the cluster, which is up, as it is reached from its network."""
        assert self._start is not None  # noqa: S101 - it is up
        return Api(self._start.pki, self.request.api_address)

    def deadline(self, seconds: float) -> Deadline:
        """Until when to wait for something of the cluster, whatever ended there before."""
        self.failures.clear()
        return Deadline(seconds, self._check)

    def close(self) -> None:
        """End the nodes, the fixtures and the ways to them; what else there is is in the ledger. The mirror ends with this process."""
        with self._power:
            machines = [node for _, node in self._machines()]
            for node in machines:
                node.kill()
            if self._layout and self._mark:
                cgroups.thaw(self._layout.folders(self._mark))
            for node in machines:
                node.wait_ended()
        if self._egress:
            self._egress.close()
        for forwarder in (self.forwarder, self.balancer):
            if forwarder:
                forwarder.close()
        if self._host and not self._host.is_current:
            self._host.enter()  # settings and links of the machine are seen from its own namespace only


def wanted_of_kernel(request: LocalRequest, layout: Layout) -> set[str]:
    """What of `machine.KERNELS` a cluster uses."""
    return {f"cgroup v{layout.version}", f"egress: {request.egress}", f"kubeProxy: {request.kube_proxy}"}


def _listen(address: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except OSError as error:
        raise ProvisionError(
            f"port {port} of {address} is in use", hint="choose another one, or 0 for any free one"
        ) from error
    listening.listen(128)
    return listening


def _saved_logs(folder: Path) -> Path:
    """What a node's services wrote, moved out of its folder."""
    saved = folder.with_name(f".{folder.name}-log")
    (folder / LOGS_BELOW).rename(saved)
    return saved

"""Brings a local cluster up: nodes, control plane, kubelets, add-ons, in the order that wastes the least time."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koalesce import pki as certificates
from koalesce import process
from koalesce.errors import ClusterError, KoalesceError, ProvisionError
from koalesce.local import addons, capabilities, cgroups, control_plane, kubelet, machine, netns, network, nodeplan
from koalesce.local.api import Api, Deadline
from koalesce.local.datastore import Datastore, Seeds
from koalesce.local.egress import Egress
from koalesce.local.forwarder import Forwarder
from koalesce.local.ledger import Ledger, Process, Thing
from koalesce.local.mirror import Mirror
from koalesce.local.netns import NetNamespace
from koalesce.local.node import Ended, RunningNode, exec_prefix
from koalesce.local.phases import Phases
from koalesce.local.request import API_PORT, GATEWAY, MIRROR_PORT, LocalRequest, NodeSpec
from koalesce.local.sysctls import FORWARDING, NEEDED, SharedSettings
from koalesce.pki import Pki, PkiRequest
from koalesce.toolchain import ImageStore, LocalTools

_log = logging.getLogger(__name__)
_TOO_OFTEN = 4


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
    forwarder: Forwarder | None = None
    mirror: Mirror | None = None
    failures: list[Ended] = field(default_factory=list)
    capabilities: frozenset[str] = frozenset()
    gone: set[str] = field(default_factory=set)
    _cgroup_version: int = 2
    _on_disk: bool = True
    _egress: Egress | None = None
    _host: NetNamespace | None = None
    _fabric: NetNamespace | None = None

    def run(self) -> None:
        """Make the cluster; KoalesceError if it can't be made. What was made until then is in the ledger."""
        request = self.request
        deadline = Deadline(request.timeout, self._check)
        with self.phases.phase("machine"):
            layout = machine.check(self.folder)
            (self.folder / "nodes").mkdir(parents=True, exist_ok=True)
            os.chmod(self.folder, 0o700)  # noqa: PTH101
            machine.load_modules()
            self._on_disk = machine.takes_overlays(self.folder)
            listening = self._listen()
            SharedSettings().raise_for(request.name, Process.of(os.getpid()), NEEDED)
        with self.phases.phase("certificates"):
            pki = self._pki()
        with self.phases.phase("network"):
            self._host = NetNamespace.of_process("self")
            netns.new()
            self._fabric = NetNamespace.of_process("self")
            machine.leave_bridges_alone()
            netns.ip(*network.fabric())
            self.mirror = Mirror(self.store, (GATEWAY, MIRROR_PORT), fetch=self._fetch)
            self.mirror.start()
            self.forwarder = Forwarder(listening, self._fabric, (request.control.address, API_PORT))
            self.forwarder.start()
        if request.egress == "host":
            with self.phases.phase("egress"):
                self._open_egress()
        self._cgroup_version = layout.version
        with self.phases.phase("nodes"):
            self._make_nodes(layout, pki)
        with ThreadPoolExecutor(max_workers=2 * len(request.nodes) + 2, thread_name_prefix="bringup") as pool:
            self._start(pool, pki, deadline)
        (self.folder / "kubeconfig").touch(mode=0o600)
        (self.folder / "kubeconfig").write_text(pki.kubeconfig("admin", f"https://127.0.0.1:{self.forwarder.port}"))

    def _start(self, pool: ThreadPoolExecutor, pki: Pki, deadline: Deadline) -> None:
        request = self.request
        control = self.nodes[request.control.name]
        services = control_plane.services(request)
        inside = NetNamespace.of_process(control.pid)
        datastore = Datastore(pki, inside)
        seeds = Seeds(self.seeds, request)
        with self.phases.phase("etcd"):
            control.start(services["etcd"])
            deadline.until("etcd to answer", datastore.answers, why=lambda: self._said(control, "etcd"))
            is_planted = seeds.plant(datastore)
        control.start(services["kube-apiserver"])
        waiting = [pool.submit(self._probe, control)]
        if request.schedulable:
            waiting += [pool.submit(self._prepare_runtime, node, deadline) for node in request.nodes]
        api = Api(pki, request.control.address)
        with self.phases.phase("api server"):
            self._await_api(api, control, deadline, "/version")
        self._start_kubelets(api, deadline)
        if not is_planted:
            # The other parts exit, or wait long before they try again, when they have no roles yet.
            with self.phases.phase("roles"):
                self._await_api(api, control, deadline, "/readyz/poststarthook/rbac/bootstrap-roles")
        control.start(services["kube-controller-manager"])
        control.start(services["kube-scheduler"])
        self._start_proxies()
        with self.phases.phase("add-ons"):
            self._create_addons(api, deadline)
        with self.phases.phase("images"):
            _settle(waiting)
        with self.phases.phase("api server ready"):
            self._await_api(api, control, deadline, "/readyz")
        if not is_planted:
            seeds.gather(datastore)
        if request.schedulable and request.network == "bridge":
            self._await_nodes(api, inside, deadline)
        inside.close()
        api.close()

    def _await_api(self, api: Api, control: RunningNode, deadline: Deadline, path: str) -> None:
        deadline.until(
            f"the API server to answer to {path}",
            lambda: api.request("GET", path)[0] == 200,
            why=lambda: self._said(control, "kube-apiserver", "etcd"),
        )

    def _await_nodes(self, api: Api, inside: NetNamespace, deadline: Deadline) -> None:
        """Wait until the nodes are Ready, and until CoreDNS answers on one of them."""
        with self.phases.phase("nodes ready"):
            deadline.until(
                "all nodes to be Ready",
                lambda: len(_ready_nodes(api)) == len(self.request.nodes),
                why=lambda: self._unready(api),
            )
        if self.request.dns == "coredns":
            with self.phases.phase("dns"):
                deadline.until(
                    "CoreDNS to answer",
                    lambda: addons.answers(inside, self.request.dns_ip),
                    why=lambda: _pods(api),
                )

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", self.request.port))
        except OSError as error:
            raise ProvisionError(
                f"port {self.request.port} of 127.0.0.1 is in use", hint="choose another one, or 0 for any free one"
            ) from error
        listening.listen(128)
        return listening

    def _pki(self) -> Pki:
        request = self.request
        wanted = PkiRequest(
            nodes={node.name: [node.address] for node in request.nodes} if request.schedulable else {},
            api_names=request.api_names,
            etcd_names=["localhost", "127.0.0.1", request.control.address, request.control.name],
        )
        return certificates.create(request.pki_dir or self.folder / "pki", wanted)

    def _open_egress(self) -> None:
        assert self._host is not None  # noqa: S101 - set before
        self._egress = Egress.named(secrets.token_hex(3), self._host, self.tools)
        self.ledger.record(self.request.name, Thing("link", self._egress.link))
        with self._host.entered():
            SharedSettings().raise_for(self.request.name, Process.of(os.getpid()), FORWARDING)
        self._egress.open()

    def _make_nodes(self, layout: cgroups.Layout, pki: Pki) -> None:
        request = self.request
        mark = f"{request.name}-{secrets.token_hex(3)}"
        self.ledger.record(request.name, *(Thing("cgroup", str(path)) for path in layout.folders(mark)))
        for spec in request.nodes:
            folder = self.folder / "nodes" / spec.name
            for name in ("root", "var"):
                (folder / name).mkdir(parents=True)
            self.nodes[spec.name] = RunningNode(spec.name, folder / "var", on_ended=self._note)
        for number, spec in enumerate(request.nodes):
            node = self.nodes[spec.name]
            groups = cgroups.make(layout, mark, spec.name)
            folder = self.folder / "nodes" / spec.name
            node.begin(
                nodeplan.plan(
                    request, spec, self.tools, pki, folder=folder, layout=layout, cgroups=groups, on_disk=self._on_disk
                )
            )
            (folder / "process").symlink_to(f"/proc/{node.pid}")
            netns.ip(*network.port(number, node.pid))
            inside = NetNamespace.of_process(node.pid)
            with inside.entered():
                netns.ip(*network.uplink(request, spec))
            inside.close()
        for node in self.nodes.values():
            node.wait_up()

    def _prepare_runtime(self, spec: NodeSpec, deadline: Deadline) -> None:
        """Start containerd and have it pull what the node must have from the start."""
        node = self.nodes[spec.name]
        node.start(kubelet.services(self.request, spec)["containerd"])
        if self.request.network == "bridge":
            self._run(node, ["iptables-restore", "--noflush", "--wait"], network.masquerading(self.request))
        endpoint = Path(f"/proc/{node.pid}/root/run/containerd/containerd.sock")
        deadline.until(f"containerd on {node.name}", endpoint.exists)
        for reference in dict.fromkeys((self.tools.images["pause"], *self.request.preload)):
            pull = [
                "ctr",
                "--namespace",
                "k8s.io",
                "images",
                "pull",
                "--hosts-dir",
                "/etc/containerd/certs.d",
                reference,
            ]
            self._run(node, pull)

    def _start_kubelets(self, api: Api, deadline: Deadline) -> None:
        for node in self.request.nodes if self.request.schedulable else ():
            document = kubelet.node_object(node)
            api.create("/api/v1/nodes", document, keep_trying=lambda: deadline.pause("the Node objects"))
            self.nodes[node.name].start(kubelet.services(self.request, node)["kubelet"])

    def _start_proxies(self) -> None:
        for node in self.request.nodes if self.request.schedulable else ():
            if proxy := kubelet.services(self.request, node).get("kube-proxy"):
                self.nodes[node.name].start(proxy)

    def _create_addons(self, api: Api, deadline: Deadline) -> None:
        if self.request.dns != "coredns":
            return
        for path, document in addons.coredns(self.tools.images["coredns"], self.request.dns_ip):
            api.create(path, document, keep_trying=lambda: deadline.pause("CoreDNS' objects"))

    def _probe(self, node: RunningNode) -> None:
        self.capabilities = capabilities.probe(
            self.request, lambda command: self._run(node, command), cgroup_version=self._cgroup_version
        )

    def _run(self, node: RunningNode, command: Sequence[str], text: str = "") -> str:
        prefix = exec_prefix(f"/proc/{node.pid}")
        return process.run([*prefix, *command], stdin=text.encode(), timeout=60, cancel=self.stopping).check().out

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
        said = self._said(self.nodes[ended.node], ended.service)
        return ClusterError(f"{ended.service} does not stay up, it ended with code {ended.code}\n{said}".rstrip())

    def _said(self, node: RunningNode, *services: str) -> str:
        """The last lines that services of a node wrote."""
        tails = {service: node.log_tail(service) for service in services}
        return "\n".join(
            f"{service} on {node.name} said last:\n" + "\n".join(f"  | {line}" for line in tail.splitlines())
            for service, tail in tails.items()
            if tail
        )

    def _unready(self, api: Api) -> str:
        ready = _ready_nodes(api)
        return "\n".join(self._said(node, "kubelet") for name, node in self.nodes.items() if name not in ready)

    def look(self) -> None:
        """Note in the log when a node has ended by itself."""
        for name, node in self.nodes.items():
            if node.has_ended and name not in self.gone:
                self.gone.add(name)
                _log.warning("node %s has ended", name)

    def close(self) -> None:
        """End all nodes and servers; what else there is is in the ledger."""
        for node in self.nodes.values():
            node.kill()
        for node in self.nodes.values():
            node.wait_ended()
        if self._egress:
            self._egress.close()
        if self.mirror:
            self.mirror.close()
        if self.forwarder:
            self.forwarder.close()
        if self._host:
            self._host.enter()  # settings and links of the machine are seen from its own namespace only


def _settle(waiting: Iterable[Future[None]]) -> None:
    for future in waiting:
        future.result()


def _ready_nodes(api: Api) -> set[str]:
    """The names of the nodes that are Ready; none while the API server can't say."""
    status, body = api.request("GET", "/api/v1/nodes")
    nodes: list[dict[str, Any]] = json.loads(body)["items"] if status == 200 else []
    return {
        node["metadata"]["name"]
        for node in nodes
        for condition in node["status"].get("conditions", ())
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def _pods(api: Api) -> str:
    """What the pods of kube-system wait for."""
    lines = []
    for pod in api.get("/api/v1/namespaces/kube-system/pods")["items"]:
        states = [status["state"] for status in pod["status"].get("containerStatuses", ())]
        lines.append(f"  | {pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}: {json.dumps(states)}")
    return "\n".join(lines)

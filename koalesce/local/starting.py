"""Starts what runs on the nodes, in the order that wastes the least time: control plane, kubelets, proxies, add-ons."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from koalesce import process
from koalesce.local import addons, capabilities, control_plane, etcd, kubelet, network
from koalesce.local.api import Api, Deadline
from koalesce.local.control_start import ControlStart, said
from koalesce.local.datastore import Datastore, Seeds
from koalesce.local.first_dns import FirstDns, is_ready
from koalesce.local.netns import NetNamespace
from koalesce.local.node import RunningNode, exec_prefix
from koalesce.local.phases import Phases
from koalesce.local.request import API_PORT, LocalRequest, NodeSpec
from koalesce.pki import Pki
from koalesce.records import dataclass
from koalesce.toolchain import LocalTools
from koalesce.toolchain.reference import Reference

PULL = ("ctr", "--namespace", "k8s.io", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d")
_COMMAND_PATIENCE = 60.0  # or longer, where a slow machine was given more time for the start
# A request that is given up halfway may leave the address of a Service taken, by nobody, for a minute or more: on a busy machine, again and again.
_API_PATIENCE = 60.0
_T = TypeVar("_T")


@dataclass(slots=True, kw_only=True)
class Start:
    """The start of a cluster whose nodes and fixtures are there but run nothing yet."""

    request: LocalRequest
    tools: LocalTools
    nodes: Mapping[str, RunningNode]
    fixtures: Mapping[str, RunningNode]
    pki: Pki
    seeds: Seeds
    phases: Phases
    deadline: Deadline
    stopping: threading.Event
    cgroup_version: int

    def run(self) -> frozenset[str]:
        """Start everything, wait until it works, and return what the cluster can do."""
        specs = self.request.first_nodes if self.request.schedulable else ()
        with ThreadPoolExecutor(
            max_workers=len(specs) + len(self.request.controls) + 3, thread_name_prefix="start"
        ) as pool:
            try:
                return self._run(pool, specs)
            except BaseException:
                self.stopping.set()  # the threads have nothing to wait for any more
                raise

    def _run(self, pool: ThreadPoolExecutor, specs: Sequence[NodeSpec]) -> frozenset[str]:
        inside, controls = NetNamespace.of_process(self._control.pid), self._controls
        early = [spec for spec in specs if spec.is_control_plane and self.request.static]
        late = [spec for spec in specs if spec not in early]
        if early:
            with self.phases.phase("kubelets"):  # there is no API server, or no etcd, before they run
                _settle([pool.submit(self._start_early, spec) for spec in early])
        datastore = Datastore(self.pki, inside, self.request.etcd_address)
        is_planted = self._start_api(datastore)
        found = pool.submit(self._beside, "capabilities", self._probe)
        runtimes = [pool.submit(self._beside, f"runtime of {spec.name}", self._start_runtime, spec) for spec in late]
        kubelets = [pool.submit(self._beside, "first kubelet", self._start_first_node, spec) for spec in late[:1]]
        api = Api(self.pki, self.request.control.address, patience=_API_PATIENCE)
        with self.phases.phase("api server"):
            controls.await_answer(api, "/version", self.request.control)
        if not is_planted:
            # The controller manager exits, and others wait long before they try again, when they have no roles yet.
            with self.phases.phase("roles"):
                controls.await_answer(api, "/readyz/poststarthook/rbac/bootstrap-roles", self.request.control)
        first, *more = self.request.controls
        starts = [pool.submit(self._beside, "controllers' start", controls.start_controllers, first)]
        starts += [pool.submit(self._beside, f"API server of {spec.name}", controls.start_api, spec) for spec in more]
        self._start_the_rest(api, specs, late[1:])
        gives_dns = self.request.dns == "coredns" and self.request.network == "bridge" and specs
        given = [pool.submit(self._beside, "CoreDNS", self._give_dns, inside)] if gives_dns else []
        _settle(kubelets)
        with self.phases.phase("images"):
            _settle(runtimes)
        if specs and self.request.network == "bridge":
            self._await_nodes(api, inside, given)
        with self.phases.phase("controllers"):
            _settle(starts)
        with self.phases.phase("api server ready"):
            controls.await_answer(api, "/readyz", first)
            for spec in more:
                controls.await_api_of(spec, "/readyz")
        if self.request.static:
            with self.phases.phase("static pods"):
                controls.await_shown(api)
        if "metrics-server" in self.request.addons and self._runs_pods:
            self._await_metrics(api)
        if not is_planted and "metrics-server" not in self.request.addons:  # which other clusters aren't to have
            self.seeds.gather(datastore)
        inside.close()
        api.close()
        return found.result()

    def _beside(self, name: str, act: Callable[..., _T], *given: Any) -> _T:
        with self.phases.beside(name):
            return act(*given)

    def boot(self, spec: NodeSpec) -> None:
        """Start what runs on a node that has been made anew in a cluster that is up."""
        self._start_early(spec)
        if spec in self.request.members:
            self._controls.rejoin(spec)
        if spec.is_control_plane:
            self._controls.start_api(spec)
        self._start_services(spec, "kube-proxy")

    @property
    def _controls(self) -> ControlStart:
        return ControlStart(
            request=self.request,
            images=self.tools.images,
            nodes={**self.nodes, **self.fixtures},
            pki=self.pki,
            deadline=self.deadline,
        )

    @property
    def _runs_pods(self) -> bool:
        """Whether pods that talk to the API server run before any component is installed."""
        request = self.request
        return request.schedulable and request.network == "bridge" and request.kube_proxy != "none"

    @property
    def _control(self) -> RunningNode:
        return self.nodes[self.request.control.name]

    def _start_api(self, datastore: Datastore) -> bool:
        """Start etcd and the API server, which is busy with itself until long after etcd answers; returns whether the datastore had been filled before."""
        members = self.request.members
        with self.phases.phase("etcd"):
            self._controls.start_members()
            self._controls.start(self.request.control, "kube-apiserver")
            self.deadline.until(
                "etcd to answer", datastore.answers, why=lambda: self._controls.said_by(members, etcd.NAME)
            )
            planted = self.request.first_nodes if self.request.schedulable else ()
            service = addons.stored_api_service(self.request.api_service_ip, self.request.control.address)
            datastore.write({**dict(map(kubelet.stored_node, planted)), **service})
            return self.seeds.plant(datastore)

    def _start_early(self, spec: NodeSpec) -> None:
        """Start containerd and the kubelet of a node, whether there is an API server or not."""
        self._start_runtime(spec)
        self._start_services(spec, "kubelet")

    def _start_runtime(self, spec: NodeSpec) -> None:
        """Start containerd and have it pull what the node must have from the start."""
        node = self.nodes[spec.name]
        node.start(kubelet.services(self.request, spec)["containerd"])
        if self.request.network == "bridge":
            for command, rules in network.masquerading(self.request):
                self._command(node, command, rules)
        self._await_runtime(node)
        dns = [self.tools.images["coredns"]] if spec == self.request.control and self.request.dns == "coredns" else []
        static = [
            self.tools.images[name] for name in control_plane.names(self.request, spec) if name in self.request.static
        ]
        for reference in dict.fromkeys((self.tools.images["pause"], *static, *dns, *self.request.preload)):
            self._command(node, [*PULL, *self._credentials(reference), reference])

    def _credentials(self, reference: str) -> list[str]:
        """What the cluster's registry wants to hear, where it asks who pulls."""
        user = self.request.registries.get(Reference.parse(reference).domain)
        return ["--user", ":".join(user)] if user else []

    def _await_runtime(self, node: RunningNode) -> None:
        endpoint = Path(f"/proc/{node.pid}/root/run/containerd/containerd.sock")
        self.deadline.until(f"containerd on {node.name}", endpoint.exists, why=lambda: said(node, "containerd"))

    def _start_the_rest(self, api: Api, specs: Sequence[NodeSpec], without_kubelet: Sequence[NodeSpec]) -> None:
        """Make the first objects, and start what needs them, those first on whom others wait."""
        create = functools.partial(api.create, keep_trying=lambda: self.deadline.pause("the first objects"))
        for spec in specs[:1]:
            self._start_services(spec, "kube-proxy")
        if self.request.dns == "coredns":
            with self.phases.phase("add-ons"):
                create(*addons.root_ca(self.pki.text("ca.crt")))
                for path, document in addons.coredns(self.tools.images["coredns"], self.request.dns_ip):
                    create(path, document)
        for path, document in addons.besides(self.request.addons, self.tools.images):
            create(path, document)
        for spec in specs[1:]:
            kubelet_too = ["kubelet"] if spec in without_kubelet else []
            self._start_services(spec, *kubelet_too, "kube-proxy")

    def _start_first_node(self, first: NodeSpec) -> None:
        """Start the kubelet of the node that CoreDNS comes to once the API server takes connections, long before it answers on them.

        Whether it knows its Node, and may look for pods, a kubelet checks just once a second.
        """
        address = self.request.control.address, API_PORT
        self.deadline.until(
            "the API server to listen", lambda: _listens(address), why=lambda: said(self._control, "kube-apiserver")
        )
        self._start_services(first, "kubelet")

    def _start_services(self, spec: NodeSpec, *names: str) -> None:
        node, services = self.nodes[spec.name], kubelet.services(self.request, spec)
        self._await_runtime(node)  # a kubelet ends where there is none
        for name in names:
            if service := services.get(name):
                node.start(service)

    def _give_dns(self, inside: NetNamespace) -> None:
        service, api = (self.request.api_service_ip, 443), Api(self.pki, self.request.control.address)
        FirstDns(
            request=self.request,
            api=api,
            deadline=self.deadline,
            open_way=lambda opened: self._lead_pods(opened=opened),
            leads=lambda: _listens(service, inside),
            said_by=lambda name: said(self._control, name),
        ).give()
        api.close()

    def _lead_pods(self, *, opened: bool) -> None:
        command, rules = network.first_way(self.request, opened=opened)
        self._command(self._control, command, rules)

    def _await_nodes(self, api: Api, inside: NetNamespace, given: Sequence[Future[None]]) -> None:
        """Wait until the nodes are Ready, and until CoreDNS answers on one of them."""
        with self.phases.phase("nodes ready"):
            self.deadline.until(
                "all nodes to be Ready",
                lambda: self._are_open(api),
                why=lambda: self._unready(api),
            )
        if self.request.dns == "coredns":
            with self.phases.phase("dns"):
                _settle(given)
                self.deadline.until(
                    "CoreDNS to answer",
                    lambda: addons.answers(inside, self.request.dns_ip),
                    why=lambda: addons.states(api),
                )

    def _await_metrics(self, api: Api) -> None:
        """Wait until metrics are served: an API that isn't there would keep namespaces from ending."""
        with self.phases.phase("metrics"):
            self.deadline.until(
                "metrics-server to serve", lambda: addons.serves_metrics(api), why=lambda: addons.states(api)
            )

    def _are_open(self, api: Api) -> bool:
        """Whether all nodes are Ready and take pods; frees them from the taint that a controller removes, which isn't up yet."""
        ready = _ready_nodes(api)
        closed = [node for node in ready if _others(node) != node["spec"].get("taints", [])]
        for node in closed:
            _open(api, node)
        return len(ready) == len(self.nodes) and not closed

    def _unready(self, api: Api) -> str:
        ready = {node["metadata"]["name"] for node in _ready_nodes(api)}
        return "\n".join(said(node, "kubelet") for name, node in self.nodes.items() if name not in ready)

    def _probe(self) -> frozenset[str]:
        run: Callable[[Sequence[str]], str] = lambda command: self._command(self._control, command)  # noqa: E731
        return capabilities.probe(self.request, run, cgroup_version=self.cgroup_version)

    def _command(self, node: RunningNode, command: Sequence[str], text: str = "") -> str:
        words = [*exec_prefix(f"/proc/{node.pid}"), *command]
        patience = max(_COMMAND_PATIENCE, self.deadline.left)
        done = process.run(words, stdin=text.encode(), timeout=patience, cancel=self.stopping)
        return done.check().out


def _listens(address: tuple[str, int], inside: NetNamespace | None = None) -> bool:
    """Whether somebody takes connections there; as seen from another network namespace, if one is given."""
    try:
        with inside.entered() if inside else contextlib.nullcontext(), socket.create_connection(address, timeout=0.2):
            return True
    except OSError:
        return False


def _ready_nodes(api: Api) -> list[dict[str, Any]]:
    """The nodes that are Ready; none while the API server can't say."""
    status, body = api.request("GET", "/api/v1/nodes")
    nodes: list[dict[str, Any]] = json.loads(body)["items"] if status == 200 else []
    return [node for node in nodes if is_ready(node)]


def _others(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The taints of a node but for that of not being Ready."""
    return [taint for taint in node["spec"].get("taints", []) if taint["key"] != kubelet.NOT_READY]


def _open(api: Api, node: Mapping[str, Any]) -> None:
    """Let pods onto a node, unless it has changed meanwhile."""
    metadata = node["metadata"]
    change = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"taints": _others(node)}}
    api.request("PATCH", f"/api/v1/nodes/{metadata['name']}", change)


def _settle(waiting: Sequence[Future[None]]) -> None:
    for future in waiting:
        future.result()

"""Makes a cluster of machines: looks at all of them first, then installs them side by side, and waits until everything works."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from koalesce import pki as certificates
from koalesce.errors import KoalesceError, ProvisionError
from koalesce.local import addons, capabilities, control_plane, etcd, kubelet
from koalesce.local.api import Api, Deadline
from koalesce.local.phases import Phases
from koalesce.local.request import API_PORT, NodeSpec
from koalesce.machines import datastore, delivery, description, layout, removal
from koalesce.machines.request import MachinesRequest
from koalesce.machines.shell import Shell
from koalesce.machines.survey import Survey, problems, survey
from koalesce.machines.watching import Watch
from koalesce.pki import Pki, PkiRequest
from koalesce.toolchain import ImageStore, LocalTools
from koalesce.toolchain.export import export_all

_ABILITIES = ("disruption", "host-exec", "node-exec", "privileged")
_PATIENCE = 120.0
_ANSWER = 5.0  # of the API server to one request
_ALL, _CONTROL = "all", "control"  # the archives of images, by whose they are
_NODES = "/api/v1/nodes"


@dataclass(slots=True, kw_only=True)
class Bringup:
    """A cluster in the making; `shells` are those of its machines by their nodes' names."""

    request: MachinesRequest
    tools: LocalTools
    store: ImageStore
    folder: Path
    identity: str
    shells: Mapping[str, Shell]
    phases: Phases
    surveys: dict[str, Survey] = field(default_factory=dict)
    _watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        cluster = self.request.cluster
        self._watch = Watch(shells=self.shells, static=cluster.static, timeout=cluster.timeout)

    def run(self) -> frozenset[str]:
        """Make the cluster, and return what it can do; KoalesceError says why it can't be made."""
        cluster = self.request.cluster
        with self.phases.phase("machines"):
            self._survey()
        with self.phases.phase("certificates"):
            pki = self._pki()
        with self.phases.phase("images of this machine"):
            archives = self._export()
        with ThreadPoolExecutor(max_workers=len(cluster.nodes), thread_name_prefix="machine") as pool:
            with self.phases.phase("files"):
                self._each(pool, partial(self._install, pki))
            rest = {node.name: pool.submit(self._run_runtime, node, archives) for node in cluster.nodes}
            if cluster.static:
                self._start_early(rest[cluster.control.name])
            api = Api(pki, self.request.api_host, patience=_ANSWER * self.request.slowness)
            with self.phases.phase("api server"):
                self._await_api(api)
            self._make_nodes(api)
            self._begin(cluster.control, "kube-controller-manager", "kube-scheduler")
            with self.phases.phase("images"):
                _settle(list(rest.values()))
            self._each(pool, self._start_node)
            self._make_addons(api, pki)
            found = self._probe(pool)
            if cluster.network == "bridge":
                self._await_nodes(api)
        api.close()
        (self.folder / "kubeconfig").touch(mode=0o600)
        (self.folder / "kubeconfig").write_text(pki.kubeconfig("admin", self.request.api_url), encoding="utf-8")
        return found

    def _survey(self) -> None:
        """Connect to all machines, and see that each can become a node; ProvisionError says all that speaks against it."""
        found: list[str] = []
        hints: list[str] = []
        boot = self.request.cluster.timeout if self.request.fresh else 0.0
        with ThreadPoolExecutor(max_workers=len(self.shells)) as pool:
            looks = {name: pool.submit(_look, shell, boot) for name, shell in self.shells.items()}
        for name, look in looks.items():
            account = self.shells[name].account
            try:
                self.surveys[name] = look.result()
            except KoalesceError as error:
                found.append(error.message)
                hints += [error.hint] if error.hint else []
                continue
            found += [f"{account}: {problem}" for problem in problems(self.surveys[name], account.address)]
        if found:
            raise ProvisionError("\n".join(found), hint="; ".join(dict.fromkeys(hints)) or None)

    def _pki(self) -> Pki:
        cluster = self.request.cluster
        outside = [self.request.api_host] if self.request.public else []
        wanted = PkiRequest(
            nodes={node.name: node.addresses for node in cluster.nodes},
            api_names=[*cluster.api_names, *outside],
            etcd_names=[*cluster.etcd_names, *outside],
        )
        return certificates.create(cluster.pki_dir or self.folder / "pki", wanted)

    def _export(self) -> dict[str, Path]:
        """The images of the machines as archives: one for all of them, and the control plane's own, by name."""
        folder = self.folder / "images"
        folder.mkdir(exist_ok=True)
        cluster = self.request.cluster
        common = ("pause", "probe", *(("coredns",) if cluster.dns == "coredns" else ()))
        roles: dict[str, Sequence[str]] = {_ALL: common, _CONTROL: cluster.static}
        archives = {}
        for name, members in roles.items():
            wanted = [*(self.tools.images[role] for role in members), *(self.request.images if name == _ALL else ())]
            if wanted:
                archives[name] = folder / f"{name}.tar"
                export_all(self.store, dict.fromkeys(wanted), archives[name])
        return archives

    def _each(self, pool: ThreadPoolExecutor, act: Callable[[NodeSpec], None]) -> None:
        _settle([pool.submit(act, node) for node in self.request.cluster.nodes])

    def _install(self, pki: Pki, node: NodeSpec) -> None:
        """Take a machine, copy onto it what makes it a node, and start what nothing else is needed for."""
        shell, found, cluster = self.shells[node.name], self.surveys[node.name], self.request.cluster
        described = description.describe(
            self.request, node, self.tools, pki, cgroup_version=found.cgroup_version, resolver=found.resolver
        )
        removal.claim(shell, cluster.name, self.identity)
        delivery.deliver(shell, described)
        shell.do("runc doesn't run there", f"{layout.TOOLS}/bin/runc --version")  # which needs libraries of the machine
        shell.do("its services can't be made known", "systemctl daemon-reload")
        self._start(node, layout.NETWORK, "containerd")
        if node.is_control_plane and cluster.datastore:
            datastore.check(shell, cluster.datastore)
        if node.is_control_plane and not cluster.static:
            self._begin(node, *self._first)

    def _run_runtime(self, node: NodeSpec, archives: Mapping[str, Path]) -> None:
        """Wait until a machine's containerd answers, and give it the images."""
        shell = self.shells[node.name]
        deadline = Deadline(self.request.cluster.timeout, lambda: None)  # the others are looked at by another thread
        deadline.until(
            f"containerd on {shell.account}",
            lambda: shell.run(f"{layout.TOOLS}/bin/ctr version >/dev/null 2>&1").code == 0,
            why=lambda: self._watch.said(node.name, "containerd"),
        )
        for name, path in archives.items():
            if name == _ALL or node.is_control_plane:
                delivery.load(shell, path)

    def _start_early(self, runtime: Future[None]) -> None:
        """Start the kubelet of the control plane before there is one, and its first components, some of which are pods of that kubelet."""
        control = self.request.cluster.control
        with self.phases.phase("runtime of the control plane"):
            runtime.result()
        self._start(control, "kubelet")
        self._begin(control, *self._first)

    @property
    def _first(self) -> list[str]:
        """What of the control plane has to be there before anything else."""
        names = control_plane.names(self.request.cluster, self.request.cluster.control)
        return [name for name in names if name in (etcd.NAME, "kube-apiserver")]

    def _begin(self, node: NodeSpec, *components: str) -> None:
        """Start components of a control plane: services, or static pods, whose manifests the kubelet then sees."""
        static = self.request.cluster.static
        if moves := [description.release(name) for name in components if name in static]:
            self.shells[node.name].do("static pods can't be started", " && ".join(moves))
        if services := [name for name in components if name not in static]:
            self._start(node, *services)

    def _start_node(self, node: NodeSpec) -> None:
        names = [name for name in kubelet.services(self.request.cluster, node) if name != "containerd"]
        self._start(node, *names)

    def _start(self, node: NodeSpec, *services: str) -> None:
        """Start services of a machine, now and at each boot."""
        units = " ".join(layout.unit(service) for service in services)
        shell = self.shells[node.name]
        done = shell.run(f"systemctl enable --now --no-block {units} 2>&1", timeout=_PATIENCE)
        if done.code:
            raise ProvisionError(f"{shell.account}: services can't be started: {done.out.strip()}")

    def _await_api(self, api: Api) -> None:
        deadline = self._watch.deadline()
        for path in ("/readyz", "/readyz/poststarthook/rbac/bootstrap-roles"):
            deadline.until(
                f"the API server at {self.request.api_host}:{API_PORT} to answer to {path}",
                lambda path=path: api.request("GET", path)[0] == 200,  # type: ignore[misc]  # the variable of this turn
                why=lambda: self._api_said(api),
            )

    def _api_said(self, api: Api) -> str:
        status, body = api.request("GET", "/readyz")
        answer = f"it answers {status}" if status else f"from here: {body.decode(errors='replace')}"
        return "\n".join((answer, self._watch.said(self.request.cluster.control.name, *reversed(self._first))))

    def _make_nodes(self, api: Api) -> None:
        """Make the Nodes before their kubelets register: pod CIDRs are as machines have routes for."""
        deadline = self._watch.deadline()
        for node in self.request.cluster.nodes:
            wanted = kubelet.node_object(node)
            made = api.create(_NODES, wanted, keep_trying=lambda: deadline.pause("the Nodes"))
            if made["spec"].get("podCIDR") == node.pod_cidrs[0]:
                continue
            # The kubelet was faster, which runs before there is an API server where that is its static pod.
            spec = {key: wanted["spec"][key] for key in ("podCIDR", "podCIDRs")}
            change = {"metadata": {"labels": wanted["metadata"]["labels"]}, "spec": spec}
            deadline.until(
                f"the Node {node.name} to have its addresses of pods",
                lambda path=f"{_NODES}/{node.name}", change=change: api.request("PATCH", path, change)[0] == 200,  # type: ignore[misc]  # the variables of this turn
            )

    def _make_addons(self, api: Api, pki: Pki) -> None:
        cluster = self.request.cluster
        if cluster.dns != "coredns":
            return
        deadline = self._watch.deadline()
        create = partial(api.create, keep_trying=lambda: deadline.pause("the objects of CoreDNS"))
        create(*addons.root_ca(pki.text("ca.crt")))
        for path, document in addons.coredns(self.tools.images["coredns"], cluster.dns_ip):
            create(path, document)

    def _await_nodes(self, api: Api) -> None:
        with self.phases.phase("nodes ready"):
            self._watch.deadline().until(
                "all nodes to be Ready",
                lambda: not (_unready(api, [node.name for node in self.request.cluster.nodes])),
                why=lambda: "\n".join(
                    self._watch.said(name, "kubelet", "containerd")
                    for name in _unready(api, [node.name for node in self.request.cluster.nodes])
                ),
            )
        if self.request.cluster.dns == "coredns" and self.request.cluster.kube_proxy != "none":
            with self.phases.phase("dns"):
                self._watch.deadline().until(
                    "CoreDNS to be available",
                    lambda: bool((api.get(addons.DEPLOYMENT).get("status") or {}).get("availableReplicas")),
                    why=lambda: _pods(api),
                )

    def _probe(self, pool: ThreadPoolExecutor) -> frozenset[str]:
        """What all of the machines can do, whose kernels may differ; what only some can is told."""
        looks = {node.name: pool.submit(self._probe_machine, node.name) for node in self.request.cluster.nodes}
        found = {name: look.result() for name, look in looks.items()}
        common = frozenset.intersection(*found.values())
        for capability in sorted(frozenset.union(*found.values()) - common):
            lacking = ", ".join(name for name, able in found.items() if capability not in able)
            self.phases.say(f"the cluster doesn't count as having {capability}: {lacking} has it not")
        return common

    def _probe_machine(self, name: str) -> frozenset[str]:
        shell, found = self.shells[name], self.surveys[name]

        # What is between a cloud's machines and here lets in no more than the cluster needs.
        always = [each for each in _ABILITIES if each != "host-exec" or not self.request.public]

        def run(command: Sequence[str]) -> str:
            return shell.do("what its kernel can do can't be told", shlex.join(command))

        return capabilities.probe(self.request.cluster, run, cgroup_version=found.cgroup_version, always=always)

    def evidence(self) -> Iterator[tuple[str, str]]:
        """What is told of each machine when the cluster can't be made."""
        return self._watch.evidence()


def _look(shell: Shell, boot: float) -> Survey:
    """A machine as it is; one that was just made has so many seconds to come up."""
    if boot:
        shell.await_boot(boot)
    else:
        shell.open()
    return survey(shell)


def _settle(waiting: Sequence[Future[Any]]) -> None:
    """Wait for all, and raise what went wrong first."""
    failures = [error for future in waiting if (error := future.exception())]
    if failures:
        raise failures[0]


def _unready(api: Api, names: Sequence[str]) -> list[str]:
    """The nodes that aren't Ready, or take no pods yet."""
    status, body = api.request("GET", _NODES)
    nodes = json.loads(body)["items"] if status == 200 else []
    ready = {node["metadata"]["name"] for node in nodes if _is_open(node)}
    return [name for name in names if name not in ready]


def _is_open(node: Mapping[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", ())}
    closed = any(taint["key"] == kubelet.NOT_READY for taint in node["spec"].get("taints", ()))
    return conditions.get("Ready") == "True" and not closed


def _pods(api: Api) -> str:
    """What the pods of kube-system wait for."""
    lines = []
    for pod in api.get("/api/v1/namespaces/kube-system/pods")["items"]:
        states = [each["state"] for each in pod["status"].get("containerStatuses", ())]
        lines.append(f"  | {pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}: {json.dumps(states)}")
    return "\n".join(lines)

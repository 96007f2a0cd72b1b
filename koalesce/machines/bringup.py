"""Makes a cluster of machines: looks at all of them first, then installs them side by side, and waits until everything works."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from koalesce import pki as certificates
from koalesce.errors import ClusterError, KoalesceError, ProvisionError
from koalesce.local import addons, capabilities, kubelet
from koalesce.local.api import Api, Deadline
from koalesce.local.nodeinit import LOGS
from koalesce.local.phases import Phases
from koalesce.local.request import API_PORT, NodeSpec
from koalesce.machines import delivery, layout, removal
from koalesce.machines.description import describe
from koalesce.machines.request import MachinesRequest
from koalesce.machines.shell import Shell
from koalesce.machines.survey import Survey, problems, survey
from koalesce.pki import Pki, PkiRequest
from koalesce.toolchain import ImageStore, LocalTools
from koalesce.toolchain.export import export

_ABILITIES = ("disruption", "host-exec", "node-exec", "privileged")
_LOOK = 5.0  # seconds between looks at machines while something is awaited
_TOO_OFTEN = 4
_PATIENCE = 60.0
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
    _looked: float = 0.0

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
            rest = [pool.submit(self._run_runtime, node, archives) for node in cluster.nodes]
            api = Api(pki, self.request.api_host)
            with self.phases.phase("api server"):
                self._await_api(api)
            self._make_nodes(api)
            self._start(cluster.control, "kube-controller-manager", "kube-scheduler")
            with self.phases.phase("images"):
                _settle(rest)
            self._each(pool, self._start_node)
            self._make_addons(api, pki)
            found = self._probe()
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
        """The images of the machines as archives, by reference."""
        folder = self.folder / "images"
        folder.mkdir(exist_ok=True)
        roles = ("pause", "probe", *(("coredns",) if self.request.cluster.dns == "coredns" else ()))
        wanted = dict.fromkeys((*(self.tools.images[role] for role in roles), *self.request.images))
        archives = {reference: folder / f"{number}.tar" for number, reference in enumerate(wanted)}
        for reference, path in archives.items():
            export(self.store, reference, path)
        return archives

    def _each(self, pool: ThreadPoolExecutor, act: Callable[[NodeSpec], None]) -> None:
        _settle([pool.submit(act, node) for node in self.request.cluster.nodes])

    def _install(self, pki: Pki, node: NodeSpec) -> None:
        """Take a machine, copy onto it what makes it a node, and start what nothing else is needed for."""
        shell, found = self.shells[node.name], self.surveys[node.name]
        description = describe(
            self.request, node, self.tools, pki, cgroup_version=found.cgroup_version, resolver=found.resolver
        )
        removal.claim(shell, self.request.cluster.name, self.identity)
        delivery.deliver(shell, description)
        shell.do("runc doesn't run there", f"{layout.TOOLS}/bin/runc --version")  # which needs libraries of the machine
        shell.do("its services can't be made known", "systemctl daemon-reload")
        early = ["etcd", "kube-apiserver"] if node.is_control_plane else []
        self._start(node, layout.NETWORK, "containerd", *early)

    def _run_runtime(self, node: NodeSpec, archives: Mapping[str, Path]) -> None:
        """Wait until a machine's containerd answers, and give it the images."""
        shell = self.shells[node.name]
        deadline = Deadline(_PATIENCE, lambda: None)
        deadline.until(
            f"containerd on {shell.account}",
            lambda: shell.run(f"{layout.TOOLS}/bin/ctr version >/dev/null 2>&1").code == 0,
            why=lambda: self.said(node.name, "containerd"),
        )
        for path in archives.values():
            delivery.load(shell, path)

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
        deadline = self._deadline()
        for path in ("/readyz", "/readyz/poststarthook/rbac/bootstrap-roles"):
            deadline.until(
                f"the API server at {self.request.api_host}:{API_PORT} to answer to {path}",
                lambda path=path: api.request("GET", path)[0] == 200,  # type: ignore[misc]  # the variable of this turn
                why=lambda: self._api_said(api),
            )

    def _api_said(self, api: Api) -> str:
        status, body = api.request("GET", "/readyz")
        answer = f"it answers {status}" if status else f"from here: {body.decode(errors='replace')}"
        return "\n".join((answer, self.said(self.request.cluster.control.name, "kube-apiserver", "etcd")))

    def _make_nodes(self, api: Api) -> None:
        """Make the Nodes before their kubelets register: pod CIDRs are as machines have routes for."""
        deadline = self._deadline()
        for node in self.request.cluster.nodes:
            api.create(_NODES, kubelet.node_object(node), keep_trying=lambda: deadline.pause("the Nodes"))

    def _make_addons(self, api: Api, pki: Pki) -> None:
        cluster = self.request.cluster
        if cluster.dns != "coredns":
            return
        deadline = self._deadline()
        create = partial(api.create, keep_trying=lambda: deadline.pause("the objects of CoreDNS"))
        create(*addons.root_ca(pki.text("ca.crt")))
        for path, document in addons.coredns(self.tools.images["coredns"], cluster.dns_ip):
            create(path, document)

    def _await_nodes(self, api: Api) -> None:
        with self.phases.phase("nodes ready"):
            self._deadline().until(
                "all nodes to be Ready",
                lambda: not (_unready(api, [node.name for node in self.request.cluster.nodes])),
                why=lambda: "\n".join(
                    self.said(name, "kubelet", "containerd")
                    for name in _unready(api, [node.name for node in self.request.cluster.nodes])
                ),
            )
        if self.request.cluster.dns == "coredns" and self.request.cluster.kube_proxy != "none":
            with self.phases.phase("dns"):
                self._deadline().until(
                    "CoreDNS to be available",
                    lambda: bool((api.get(addons.DEPLOYMENT).get("status") or {}).get("availableReplicas")),
                    why=lambda: _pods(api),
                )

    def _probe(self) -> frozenset[str]:
        control = self.request.cluster.control.name
        shell, found = self.shells[control], self.surveys[control]

        # What is between a cloud's machines and here lets in no more than the cluster needs.
        always = [each for each in _ABILITIES if each != "host-exec" or not self.request.public]

        def run(command: Sequence[str]) -> str:
            return shell.do("what its kernel can do can't be told", shlex.join(command))

        return capabilities.probe(self.request.cluster, run, cgroup_version=found.cgroup_version, always=always)

    def _deadline(self) -> Deadline:
        return Deadline(self.request.cluster.timeout, self._check)

    def _check(self) -> None:
        """Now and then while something is awaited, see that machines answer and their services stay up."""
        if time.monotonic() - self._looked < _LOOK:
            return
        for name, shell in self.shells.items():
            shown = f"systemctl show --property=Id,NRestarts '{layout.UNIT_PREFIX}*'"
            for service, restarts in _restarts(shell.do("its services can't be looked at", shown)):
                if restarts >= _TOO_OFTEN:
                    raise ClusterError(
                        f"{shell.account}: {service} does not stay up\n{self.said(name, service)}".rstrip()
                    )
        self._looked = time.monotonic()

    def said(self, name: str, *services: str) -> str:
        """The last lines that services of a machine wrote, for messages; why they can't be had, where they can't."""
        shell = self.shells[name]
        parts = []
        for service in services:
            try:
                tail = shell.run(f"tail -n 12 {LOGS}/{service}.log 2>/dev/null", timeout=30.0).out
            except KoalesceError as error:
                return error.message
            lines = "\n".join(f"  | {line}" for line in tail.splitlines())
            parts += [f"{service} on {name} said last:\n{lines}"] if lines else []
        return "\n".join(parts)

    def evidence(self) -> Iterator[tuple[str, str]]:
        """What is told of each machine: everything that its services wrote, for a file that stays."""
        for name, shell in self.shells.items():
            with contextlib.suppress(KoalesceError):
                yield name, shell.run(f"tail -n 2000 {LOGS}/*.log 2>/dev/null; true", timeout=_PATIENCE).out


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


def _restarts(shown: str) -> Iterator[tuple[str, int]]:
    """Services and how often they were started again, of what `systemctl show` prints."""
    for block in shown.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("NRestarts", "").isdigit():
            yield values["Id"].removeprefix(layout.UNIT_PREFIX).removesuffix(".service"), int(values["NRestarts"])


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

"""What a cluster has besides itself, where its spec asks for it: the addons that its supervisor looks after."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

from koalesce import process
from koalesce.errors import ClusterError
from koalesce.local import machine, netns
from koalesce.local.bringup import Bringup
from koalesce.local.node import exec_prefix
from koalesce.local.request import LocalRequest
from koalesce.pki import Pki

_PATIENCE = 20.0
_LOOKED_AFTER = frozenset({"load-balancer", "local-path"})


def begin(bringup: Bringup, folder: Path, stopping: threading.Event) -> None:
    """Look after the addons of a cluster that is up, in threads of the caller's network namespace, which is the cluster's."""
    request = bringup.request
    if not request.addons & _LOOKED_AFTER:
        return
    from koalesce.kube import Kube  # imported here: other clusters needn't wait for it
    from koalesce.local import balancer, controlling
    from koalesce.local.provisioner import Provisioner

    kube = Kube(_kubeconfig(request, folder))
    events = controlling.Events(kube)
    if "load-balancer" in request.addons:
        with contextlib.suppress(FileNotFoundError):  # a kernel without CONFIG_IP_ROUTE_MULTIPATH
            machine.set_sysctls(balancer.sysctls(request.families))
        netns.ip(*balancer.unassigned(request.families))
        balancing = balancer.Balancer(kube, request.families, balancer.Router().lead, events)
        controlling.look_after("load-balancer", balancing, kube, stopping)
    if "local-path" in request.addons:
        provisioner = Provisioner(kube, _Nodes(bringup).run, events)
        controlling.look_after("local-path", provisioner, kube, stopping)


def _kubeconfig(request: LocalRequest, folder: Path) -> Path:
    """One that leads to the API server from within the cluster's network."""
    path = folder / "kubeconfig-inside"
    path.touch(mode=0o600)
    path.write_text(Pki(request.pki_dir or folder / "pki").kubeconfig("admin", request.api_url))
    return path


class _Nodes:
    """The nodes, as what looks after them reaches them."""

    def __init__(self, bringup: Bringup) -> None:
        self._bringup = bringup

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run a command on a node; ClusterError if it's off, or the command fails."""
        node = self._bringup.nodes.get(name)
        if node is None or name in self._bringup.gone:
            raise ClusterError(f"{name} is switched off, or no node of the cluster")
        done = process.run([*exec_prefix(f"/proc/{node.pid}"), *command], timeout=_PATIENCE)
        if done.code:
            raise ClusterError(f"{name}: {' '.join(command)}: {done.err.strip() or f'exit code {done.code}'}")

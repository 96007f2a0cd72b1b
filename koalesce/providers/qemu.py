"""Clusters of virtual machines on this machine: each node has a kernel of its own, and boots for real."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koalesce.assets import asset
from koalesce.errors import UsageError
from koalesce.providers.ssh import check_served, supply, with_modes
from koalesce.providers.variables import contract_variables, plain

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest, FaultKind, Node
    from koalesce.local.ledger import Entry
    from koalesce.process import Cancel

_LEAST_MEMORY = 1024**3  # bytes with which Debian boots, and a kubelet and a few pods run


class QemuProvider:
    """Makes clusters of virtual machines."""

    name = "qemu"
    makes_clusters = True
    terraform_root = asset("terraform", name)
    fault_kinds: frozenset[FaultKind] = frozenset()

    def __init__(self) -> None:
        self._settings: dict[str, Any] | None = None

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        """The request with an exact Kubernetes version; UsageError for what its machines can't be."""
        from koalesce.providers.vm_settings import of_settings
        from koalesce.toolchain.supported import resolve_version

        check_served(request, self.name, more={"egress": "cluster.egress"}, has_sizes=True)
        of_settings(request.settings)
        if request.etcd.get("mode") == "external":
            raise UsageError("virtual machines reach no etcd elsewhere", hint="leave out etcd.mode: external")
        for node in request.nodes:
            if 0 < node.memory < _LEAST_MEMORY:
                raise UsageError(
                    f"a virtual machine with {node.memory / 2**20:.0f} MiB can't be the node {node.name}",
                    hint="give it memory: 1Gi, or more",
                )
        return dataclasses.replace(with_modes(request), kubernetes=resolve_version(request.kubernetes))

    def confirm(self, request: ClusterRequest) -> None:
        """Nothing has to be confirmed."""

    def check(self, request: ClusterRequest) -> list[str]:
        """What this machine lacks: Terraform, root's rights, programs."""
        from koalesce.terraform.binary import find_problem
        from koalesce.vms import client

        terraform = find_problem()
        return [*([terraform] if terraform else []), *client.lacking()]

    def prepare(
        self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None
    ) -> ClusterRequest:
        """Find or make the binaries and images of this Kubernetes version, and the disk that machines begin with."""
        from koalesce.local.request import static_components
        from koalesce.providers.vm_settings import of_settings
        from koalesce.toolchain import Toolchain
        from koalesce.vms import disk, programs

        toolchain = Toolchain(progress=progress, cancel=cancel)
        static = static_components(request.control_plane, request.etcd.get("mode", ""))
        tools = toolchain.local_cluster(request.kubernetes, dns=request.dns, static=static)
        disk.provide(programs.provide(progress), progress=progress, cancel=cancel)
        settings = of_settings(request.settings)
        self._settings = {
            "processors": settings.processors,
            "mebibytes": settings.mebibytes,
            "accelerator": settings.accelerator or "",
            "tools": plain(tools),
            "image_store": str(toolchain.images.root),
        }
        return request

    def variables(self, request: ClusterRequest, folder: Path) -> dict[str, Any]:
        """Terraform variables of the contract."""
        if self._settings is None:
            raise ValueError("prepare() comes before variables()")
        return contract_variables(request, self._settings)

    def faults(self, name: str) -> None:
        """None: there is nobody on the machines who could undo them."""
        return

    def supply(self, node: Node, images: Sequence[str]) -> str:
        """Copy them to the node's containerd."""
        return supply(node, images)

    def note_first_state(self, name: str, *, wait: bool = False) -> None:
        """Nothing: it can't be brought back."""

    def reset(self, entry: Entry) -> list[str]:
        """Refuse: only clusters in namespaces of this machine are looked after."""
        raise UsageError(
            f"{entry.name} is on virtual machines, which can't be brought back to a first state",
            hint=f"koalesce down {entry.name}, and koalesce up again",
        )

    def differences(self, entry: Entry, ignored: Collection[str]) -> list[str]:
        """Refuse, likewise."""
        raise UsageError(f"{entry.name} is on virtual machines; what has become of it can't be told")

    def remains(self, entry: Entry) -> list[str]:
        """What is still there of its processes and files."""
        from koalesce.vms import client

        return client.remains(entry)

    def remove(self, name: str) -> None:
        """End its machines."""
        from koalesce.vms import client

        client.down(name)

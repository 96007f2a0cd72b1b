"""Clusters of virtual machines on this machine: each node has a kernel of its own, and boots for real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from koalesce.assets import asset
from koalesce.errors import UsageError
from koalesce.providers.on_machines import OnMachines

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest
    from koalesce.local.ledger import Entry
    from koalesce.process import Cancel

_LEAST_MEMORY = 1024**3  # bytes with which Debian boots, and a kubelet and a few pods run


class QemuProvider(OnMachines):
    """Makes clusters of virtual machines."""

    name = "qemu"
    terraform_root = asset("terraform", name)
    place = "is on virtual machines"
    have_sizes = True
    nature = ""
    unserved: Mapping[str, str] = {"egress": "cluster.egress"}

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
        from koalesce.providers.vm_settings import of_settings
        from koalesce.vms import disk, programs

        tools = self._tools(request, progress=progress, cancel=cancel)
        disk.provide(programs.provide(progress), progress=progress, cancel=cancel)
        settings = of_settings(request.settings)
        self._settings = {
            "processors": settings.processors,
            "mebibytes": settings.mebibytes,
            "accelerator": settings.accelerator or "",
            **tools,
        }
        return request

    def remains(self, entry: Entry) -> list[str]:
        """What is still there of its processes and files."""
        from koalesce.vms import client

        return client.remains(entry)

    def remove(self, name: str) -> None:
        """End its machines."""
        from koalesce.vms import client

        client.down(name)

    def _check_settings(self, request: ClusterRequest) -> None:
        """Raise UsageError for what no virtual machine of ours can be."""
        from koalesce.providers.vm_settings import of_settings

        of_settings(request.settings)
        if request.etcd.get("mode") == "external":
            raise UsageError("virtual machines reach no etcd elsewhere", hint="leave out etcd.mode: external")
        for node in request.nodes:
            if 0 < node.memory < _LEAST_MEMORY:
                raise UsageError(
                    f"a virtual machine with {node.memory / 2**20:.0f} MiB can't be the node {node.name}",
                    hint="give it memory: 1Gi, or more",
                )

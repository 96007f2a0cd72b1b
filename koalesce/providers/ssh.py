"""Clusters on machines that somebody has: reached by SSH, made nodes by services of systemd, and left as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from koalesce.addresses import range_with
from koalesce.assets import asset
from koalesce.errors import UsageError
from koalesce.providers.on_machines import OnMachines

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest
    from koalesce.local.ledger import Entry
    from koalesce.process import Cancel
    from koalesce.providers.machine_list import MachineList


class SshProvider(OnMachines):
    """Makes clusters on given machines."""

    name = "ssh"
    terraform_root = asset("terraform", name)
    place = "is on machines of yours"

    def confirm(self, request: ClusterRequest) -> None:
        """See that there are machines enough, and that the files are there which say how they're reached."""
        settings = _machines(request).settings()
        files = {settings["known_hosts"], *(machine["key"] for machine in settings["machines"])} - {""}
        for file in sorted(files):
            if not Path(file).is_file():
                raise UsageError(
                    f"providers.ssh: there is no file {file}",
                    hint="knownHosts has the machines' keys (ssh-keyscan HOST >> FILE, once you have compared them), key is a private key",
                )

    def prepare(
        self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None
    ) -> ClusterRequest:
        """Find or make the binaries and images of this Kubernetes version."""
        self.confirm(request)
        self._settings = {**_machines(request).settings(), **self._tools(request, progress=progress, cancel=cancel)}
        return request

    def remains(self, entry: Entry) -> list[str]:
        """What is still on its machines, where they can be asked, and our own files."""
        from koalesce.machines import client

        return client.remains(entry)

    def remove(self, name: str) -> None:
        """Bring its machines back to how they were."""
        from koalesce.machines import client

        client.down(name)

    def abandon(self, entry: Entry) -> str:
        """Remove our own files, whatever is on its machines; what frees one that comes back."""
        from koalesce.machines import client

        client.forget(entry.name)
        return f"a machine that comes back is freed by: koalesce down {entry.name} --machines FILE"

    def _check_settings(self, request: ClusterRequest) -> None:
        """Raise UsageError for what is wrong with the settings that there are."""
        if not request.settings:
            return
        for machine in _machines(request).settings()["machines"]:
            address = machine["address"] or machine["host"]
            for field, what in (("pod_cidr", "podCIDR"), ("service_cidr", "serviceCIDR")):
                if taken := range_with(address, getattr(request, field).split(",")):
                    raise UsageError(
                        f"the machine {address} has an address of {what} {taken}, and couldn't be reached any more",
                        hint=f"choose another cluster.{what}, in which no machine is",
                    )


def _machines(request: ClusterRequest) -> MachineList:
    """The list of machines; UsageError where there is none, or too few are in it."""
    from koalesce.providers.machine_list import of_settings

    if not request.settings:
        raise UsageError(
            "the provider ssh needs machines",
            hint="koalesce run --provider ssh --machines FILE; see docs/how-to/ssh.md",
        )
    found = of_settings(request.settings)
    if len(found.machines) < len(request.nodes):
        count = "is 1 machine" if len(found.machines) == 1 else f"are {len(found.machines)} machines"
        raise UsageError(
            f"the spec has {len(request.nodes)} nodes, and there {count} for them",
            hint="name more machines, or ask for fewer nodes",
        )
    return found

"""Clusters on machines that somebody has: reached by SSH, made nodes by services of systemd, and left as they were."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koalesce.assets import asset
from koalesce.errors import UsageError
from koalesce.providers.variables import contract_variables, plain

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest, FaultKind, Node
    from koalesce.local.ledger import Entry
    from koalesce.process import Cancel
    from koalesce.providers.machine_list import MachineList

_IMPORT_PATIENCE = 300.0
_VALUES: Mapping[str, tuple[str, ...]] = {
    "network": ("bridge", "none"),
    "kube_proxy": ("iptables", "nftables", "ipvs", "none"),
    "dns": ("coredns", "none"),
}
# What needs more than machines with services on them: fields of a request, and what specs call them.
_UNSERVED = {
    "fixtures": "fixtures",
    "ip_families": "cluster.ipFamilies",
    "registries": "cluster.registries",
    "addons": "cluster.addons",
}
_UNSERVED_OF_NODES = {"cpu": "cpu", "memory": "memory", "subnet": "subnet", "disks": "disks"}


class SshProvider:
    """Makes clusters on given machines."""

    name = "ssh"
    makes_clusters = True
    terraform_root = asset("terraform", name)
    fault_kinds: frozenset[FaultKind] = frozenset()

    def __init__(self) -> None:
        self._settings: dict[str, Any] | None = None

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        """The request with an exact Kubernetes version; UsageError for what given machines can't be."""
        from koalesce.toolchain.supported import resolve_version

        check_served(request, self.name)
        self._check_settings(request)
        return dataclasses.replace(with_modes(request), kubernetes=resolve_version(request.kubernetes))

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

    def check(self, request: ClusterRequest) -> list[str]:
        """What this machine lacks: Terraform, or ssh."""
        import shutil

        from koalesce.terraform.binary import find_problem

        terraform = find_problem()
        ssh = (
            []
            if shutil.which("ssh")
            else ["there is no ssh on this machine; on Debian: apt-get install openssh-client"]
        )
        return [*([terraform] if terraform else []), *ssh]

    def prepare(
        self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None
    ) -> ClusterRequest:
        """Find or make the binaries and images of this Kubernetes version."""
        self.confirm(request)
        self._settings = {**_machines(request).settings(), **self._tools(request, progress=progress, cancel=cancel)}
        return request

    def _check_settings(self, request: ClusterRequest) -> None:
        """Raise UsageError for what is wrong with the settings that there are."""
        if request.settings:
            _machines(request)

    @staticmethod
    def _tools(request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None) -> dict[str, Any]:
        """The settings that say where the binaries and images are, which are found or made."""
        from koalesce.local.request import static_components
        from koalesce.toolchain import Toolchain

        toolchain = Toolchain(progress=progress, cancel=cancel)
        static = static_components(request.control_plane, request.etcd.get("mode", ""))
        tools = toolchain.local_cluster(request.kubernetes, dns=request.dns, static=static)
        return {"tools": plain(tools), "image_store": str(toolchain.images.root)}

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
        import tempfile

        from koalesce.machines.delivery import IMPORT
        from koalesce.toolchain import Toolchain
        from koalesce.toolchain.export import export

        store = Toolchain().images
        for image in images:
            with tempfile.TemporaryDirectory() as folder:
                archive = Path(folder, "image.tar")
                export(store, image, archive)
                with archive.open("rb") as stream:
                    done = node.run(["sh", "-c", IMPORT], stdin=stream, timeout=_IMPORT_PATIENCE)
            if done.code:
                return f"{image} can't be imported: {done.err.strip()}"
        return ""

    def note_first_state(self, name: str, *, wait: bool = False) -> None:
        """Nothing: it can't be brought back."""

    def reset(self, entry: Entry) -> list[str]:
        """Refuse: only clusters on this machine are looked after."""
        raise UsageError(
            f"{entry.name} is on machines of yours, which can't be brought back to a first state",
            hint=f"koalesce down {entry.name}, and koalesce up again",
        )

    def differences(self, entry: Entry, ignored: Collection[str]) -> list[str]:
        """Refuse, likewise."""
        raise UsageError(f"{entry.name} is on machines of yours; what has become of it can't be told")

    def remains(self, entry: Entry) -> list[str]:
        """What is still on its machines, where they can be asked, and our own files."""
        from koalesce.machines import client

        return client.remains(entry)

    def remove(self, name: str) -> None:
        """Bring its machines back to how they were."""
        from koalesce.machines import client

        client.down(name)


def with_modes(request: ClusterRequest) -> ClusterRequest:
    """The request with what machines are by default where it doesn't say how control plane and etcd run: static pods."""
    etcd = {**request.etcd, "mode": request.etcd.get("mode") or "static"}
    return dataclasses.replace(request, etcd=etcd, control_plane=request.control_plane or "static")


def check_served(request: ClusterRequest, provider: str) -> None:
    """Raise UsageError for what a cluster on machines can't be, whoever has made them."""
    if wishes := list(_wishes(request)):
        raise UsageError(
            f"the provider {provider} takes machines as they are, and can't serve {', '.join(wishes)}",
            hint="leave that out, or run the spec with the provider local",
        )
    for field, known in _VALUES.items():
        if (value := getattr(request, field)) not in known:
            raise UsageError(f'the {provider} provider has no {field} "{value}"; it has {", ".join(known)}')


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
        raise UsageError(
            f"the spec has {len(request.nodes)} nodes, and there are {len(found.machines)} machines for them",
            hint="name more machines, or ask for fewer nodes",
        )
    return found


def _wishes(request: ClusterRequest) -> Iterator[str]:
    """What the request asks for and given machines can't be, by the names that specs use."""
    defaults = type(request)(name="", run_id="", provider="", kubernetes="", nodes=())
    for field, shown in _UNSERVED.items():
        if getattr(request, field) != getattr(defaults, field):
            yield shown
    if not request.nodes:
        yield "nodes: 0"
        return
    if request.etcd.get("fixtures"):
        yield "etcd.fixtures"
    if sum(node.role == "control-plane" for node in request.nodes) > 1:
        yield "several control planes"
    plain_node = type(request.nodes[0])(name="", role="worker")
    for field, shown in _UNSERVED_OF_NODES.items():
        if any(getattr(node, field) != getattr(plain_node, field) for node in request.nodes):
            yield f"cluster.nodes[].{shown}"

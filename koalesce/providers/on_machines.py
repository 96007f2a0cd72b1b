"""What providers have in common that make nodes of machines: what such clusters can be, and what is put on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koalesce.errors import UsageError
from koalesce.providers.unattended import Unattended
from koalesce.providers.variables import plain

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest, Node
    from koalesce.process import Cancel

_IMPORT_PATIENCE = 300.0
_VALUES: Mapping[str, tuple[str, ...]] = {
    "network": ("bridge", "none"),
    "kube_proxy": ("iptables", "nftables", "ipvs", "none"),
    "dns": ("coredns", "none"),
}
# What needs more than machines with services on them: fields of a request, and what specs call them.
_UNSERVED: Mapping[str, str] = {
    "fixtures": "fixtures",
    "ip_families": "cluster.ipFamilies",
    "registries": "cluster.registries",
    "addons": "cluster.addons",
}
_UNSERVED_OF_NODES: Mapping[str, str] = {"subnet": "subnet", "disks": "disks", "spare": "spare"}
_SIZES: Mapping[str, str] = {"cpu": "cpu", "memory": "memory"}


class OnMachines(Unattended):
    """Makes clusters of machines, whoever has them. Those that `have_sizes` are as large as their nodes ask for; `unserved` is what they can't be besides, `nature` why."""

    name: str
    makes_clusters = True
    have_sizes = False
    nature = "takes machines as they are, and "
    unserved: Mapping[str, str] = {}

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        """The request with an exact Kubernetes version; UsageError for what its machines can't be."""
        from koalesce.toolchain.supported import resolve_version

        check_served(request, self.name, more=self.unserved, have_sizes=self.have_sizes, why=self.nature)
        self._check_settings(request)
        return dataclasses.replace(with_modes(request), kubernetes=resolve_version(request.kubernetes))

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

    def _check_settings(self, request: ClusterRequest) -> None:
        """Raise UsageError for what is wrong with the settings that there are."""

    @staticmethod
    def _tools(request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None) -> dict[str, Any]:
        """The settings that say where the binaries and images are, which are found or made."""
        from koalesce.local.request import static_components
        from koalesce.toolchain import Toolchain

        toolchain = Toolchain(progress=progress, cancel=cancel)
        static = static_components(request.control_plane, request.etcd.get("mode", ""))
        tools = toolchain.local_cluster(request.kubernetes, dns=request.dns, static=static)
        return {"tools": plain(tools), "image_store": str(toolchain.images.root)}


def with_modes(request: ClusterRequest) -> ClusterRequest:
    """The request with what machines are by default where it doesn't say how control plane and etcd run: static pods."""
    etcd = {**request.etcd, "mode": request.etcd.get("mode") or "static"}
    return dataclasses.replace(request, etcd=etcd, control_plane=request.control_plane or "static")


def check_served(
    request: ClusterRequest, provider: str, *, more: Mapping[str, str], have_sizes: bool, why: str
) -> None:
    """Raise UsageError for what a cluster on machines can't be, whoever has made them, and for `more` that this provider can't serve.

    Where its machines `have_sizes`, they are as large as their nodes ask for; `why` are the words before what can't be served.
    """
    of_nodes = {**({} if have_sizes else _SIZES), **_UNSERVED_OF_NODES}
    if wishes := list(_wishes(request, {**_UNSERVED, **more}, of_nodes)):
        raise UsageError(
            f"the provider {provider} {why}can't serve {', '.join(wishes)}",
            hint="leave that out, or run the spec with the provider local",
        )
    for field, known in _VALUES.items():
        if (value := getattr(request, field)) not in known:
            raise UsageError(f'the {provider} provider has no {field} "{value}"; it has {", ".join(known)}')


def _wishes(request: ClusterRequest, unserved: Mapping[str, str], of_nodes: Mapping[str, str]) -> Iterator[str]:
    """What the request asks for and isn't served, by the names that specs use."""
    defaults = type(request)(name="", run_id="", provider="", kubernetes="", nodes=())
    for field, shown in unserved.items():
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
    for field, shown in of_nodes.items():
        if any(getattr(node, field) != getattr(plain_node, field) for node in request.nodes):
            yield f"cluster.nodes[].{shown}"

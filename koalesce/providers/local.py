"""Clusters on this machine: their nodes are Linux namespaces, their parts come from the toolchain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from koalesce.assets import asset, state_dir
from koalesce.durations import Duration
from koalesce.errors import KoalesceError, ProvisionError, UsageError
from koalesce.providers.variables import contract_variables, plain

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest, FaultKind, FaultService, Node, NodeRequest
    from koalesce.local.ledger import Entry, Thing
    from koalesce.process import Cancel

START_TIMEOUT = "3m"
_PULL_PATIENCE = 60.0
_VALUES: Mapping[str, tuple[str, ...]] = {
    "network": ("bridge", "none"),
    "kube_proxy": ("iptables", "nftables", "ipvs", "none"),
    "dns": ("coredns", "none"),
    "egress": ("none", "host"),
    "control_plane": ("process", "static"),
}
_ETCD_MODES = ("process", "static", "external")


class LocalProvider:
    """Makes clusters on this machine."""

    name = "local"
    makes_clusters = True
    terraform_root = asset("terraform", name)
    fault_kinds: frozenset[FaultKind] = frozenset(
        {
            "fill-disk", "kill-component", "kill-container", "kill-node", "link-down", "partition", "pause-component", "pause-container",
            "pause-node", "restart-component", "restart-container", "restart-node", "stop-component", "kill-pod", "pause-pod", "restart-pod",
            "degrade-link", "kill-process", "pause-process", "restart-process", "remove-state", "add-node", "remove-node",
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self._settings: dict[str, Any] | None = None

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        """The request with an exact Kubernetes version; UsageError for values that no local cluster can have."""
        from koalesce.toolchain.supported import resolve_version

        for field, known in _VALUES.items():
            if (value := getattr(request, field)) and value not in known:
                raise _unknown(_camel(field), value, known)
        if (mode := request.etcd.get("mode", "process")) not in _ETCD_MODES:
            raise _unknown("etcd.mode", mode, _ETCD_MODES)
        if request.etcd.get("endpoints"):
            raise UsageError(
                "the local provider has no etcd.endpoints; its nodes reach nothing outside of the cluster's network",
                hint="say etcd: {mode: external, fixtures: [e1]}, or run the spec with the provider ssh",
            )
        if request.egress == "host" and "IPv4" not in request.ip_families:
            raise UsageError(
                'the local provider has no egress "host" for clusters of IPv6 alone; the way out is one of IPv4',
                hint="say ipFamilies: [IPv6, IPv4], or leave out egress",
            )
        _patience(request.settings)
        version = resolve_version(request.kubernetes)
        return dataclasses.replace(request, kubernetes=version, control_plane=request.control_plane or "process")

    def confirm(self, request: ClusterRequest) -> None:
        """Nothing to say: what it makes is the user's."""

    def check(self, request: ClusterRequest) -> list[str]:
        """What this machine lacks."""
        return [*machine_problems(), *missing_families(request.ip_families), *_missing_resources(request.nodes)]

    def absent(self, names: Collection[str]) -> frozenset[str]:
        """What this machine's kernel can't do, which nodes share; tried in a network of its own."""
        from koalesce.local.capabilities import TRIED, lacking
        from koalesce.providers.local_commands import runner

        try:
            run = runner() if TRIED & set(names) else None
            return lacking(run, names) if run else frozenset()
        except KoalesceError:  # what is wrong with this machine is told where clusters are made
            return frozenset()

    def prepare(
        self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None
    ) -> ClusterRequest:
        """Find or make the binaries and images of this Kubernetes version."""
        from koalesce.toolchain import Toolchain

        toolchain = Toolchain(progress=progress, cancel=cancel)
        routers = {str(fixture.router["program"]) for fixture in request.fixtures if fixture.router}
        tools = toolchain.local_cluster(
            request.kubernetes,
            dns=request.dns,
            static=_static(request),
            addons=request.addons,
            routers=routers,
            resolver=any(fixture.kind == "resolver" for fixture in request.fixtures),
        )
        self._settings = {
            "tools": plain(tools),
            "image_store": str(toolchain.images.root),
            "timeout": _patience(request.settings),
        }
        return request

    def variables(self, request: ClusterRequest, folder: Path) -> dict[str, Any]:
        """Terraform variables of the contract."""
        if self._settings is None:
            raise ValueError("prepare() comes before variables()")
        return contract_variables(request, self._settings)

    def faults(self, name: str) -> FaultService:
        """Those that the cluster's supervisor carries out."""
        from koalesce.providers.local_faults import LocalFaults

        return LocalFaults(name=name, kinds=self.fault_kinds)

    def supply(self, node: Node, images: Sequence[str]) -> str:
        """Have the node pull them from the cluster's mirror, which serves the machine's image store."""
        from koalesce.local.starting import PULL

        for image in images:
            pulled = node.run([*PULL, image], timeout=_PULL_PATIENCE)
            if pulled.code:
                return f"{image} can't be pulled: {pulled.err.strip()}"
        return ""

    def served(self, entry: Entry) -> Mapping[str, str]:
        """Those that its mirror has noted."""
        from koalesce.local.served import read

        try:
            return read(Path(entry.folder))
        except (OSError, ValueError) as error:
            raise ProvisionError(f"what images {entry.name} was given isn't known: {error}") from error

    def note_first_state(self, name: str, *, wait: bool = False) -> None:
        """Have its supervisor do so."""
        from koalesce.local.client import note

        note(name, wait=wait)

    def reset(self, entry: Entry) -> list[str]:
        """Bring its datastore and its nodes back; what differs from the first state then."""
        from koalesce.local.reset import of_entry

        return of_entry(entry).run()

    def differences(self, entry: Entry, ignored: Collection[str]) -> list[str]:
        """What differs of its datastore and its nodes."""
        from koalesce.local.reset import of_entry

        return of_entry(entry).differences(ignored)

    def remains(self, entry: Entry) -> list[str]:
        """What the ledger knew of that is still there: its supervisor, cgroups, links, folders and mounts."""
        from koalesce.local.teardown import mounts_below

        found = [f"{thing.kind} {thing.name}" for thing in entry.things if _exists(thing)]
        if entry.supervisor is not None and entry.supervisor.is_alive:
            found.append(f"process {entry.supervisor.pid}")
        folders = {thing.name for thing in entry.things if thing.kind == "folder"}
        return found + [f"mount {point}" for folder in sorted(folders) for point in mounts_below(Path(folder))]

    def remove(self, name: str) -> None:
        """End its supervisor, and undo what the ledger says of it."""
        from koalesce.local.ledger import Ledger
        from koalesce.local.teardown import down

        down(Ledger(), name)


def machine_problems(root: Path = Path("/")) -> list[str]:
    """What a machine (its file system at `root`) lacks for local clusters, as sentences that say what to do."""
    from koalesce.local import health
    from koalesce.terraform.binary import find_problem

    found = health.obstacles(state_dir() / "clusters", root)
    terraform = find_problem()
    return [*map(str, found), *([terraform] if terraform else [])]


def missing_families(families: Sequence[str], root: Path = Path("/")) -> list[str]:
    """What a machine lacks for clusters of these families."""
    from koalesce.local.health import has_ipv6

    if "IPv6" not in families or has_ipv6(root):
        return []
    return ["the kernel of this machine has no IPv6 (CONFIG_IPV6, or it is turned off by ipv6.disable=1)"]


def _missing_resources(nodes: Sequence[NodeRequest]) -> list[str]:
    from koalesce.local import resources

    return resources.problems(nodes)


def _exists(thing: Thing) -> bool:
    """Whether something of the machine's is there; what is shared by clusters (a table, settings) can't be told so."""
    match thing.kind:
        case "cgroup" | "file" | "folder":
            return Path(thing.name).exists()
        case "link":
            return Path("/sys/class/net", thing.name).exists()
        case "table" | "sysctls":
            return False
        case _:
            assert_never(thing.kind)


def _patience(settings: Mapping[str, Any]) -> float:
    """For how many seconds at most a cluster is waited for, of the settings of a spec; UsageError for what else they have."""
    for name in settings:
        if name != "timeout":
            raise _unknown("providers.local", name, ("timeout",))
    try:
        seconds = Duration.parse(settings.get("timeout", START_TIMEOUT)).seconds
    except ValueError as error:
        raise UsageError(f"providers.local.timeout: {error}") from error
    if not seconds:
        raise UsageError("providers.local.timeout: a cluster takes some time; leave it out, or say 10m")
    return seconds


def _unknown(field: str, value: object, known: tuple[str, ...]) -> UsageError:
    have = f"; it has {', '.join(known)}" if known else ""
    return UsageError(f'the local provider has no {field} "{value}"{have}')


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.upper() if word == "dns" else word.capitalize() for word in rest)


def _static(request: ClusterRequest) -> tuple[str, ...]:
    """The components that need images."""
    from koalesce.local.request import static_components

    return static_components(request.control_plane, request.etcd.get("mode", ""))

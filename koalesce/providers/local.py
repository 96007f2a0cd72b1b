"""Clusters on this machine: their nodes are Linux namespaces, their parts come from the toolchain."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from koalesce.cluster import ClusterRequest
from koalesce.errors import UsageError
from koalesce.process import Cancel

_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids")
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
_VALUES: Mapping[str, tuple[str, ...]] = {
    "network": ("bridge", "none"),
    "kube_proxy": ("iptables", "nftables", "ipvs", "none"),
    "dns": ("coredns", "none"),
    "egress": ("none", "host"),
    "control_plane": ("process",),
}


class LocalProvider:
    """Makes clusters on this machine."""

    name = "local"

    def __init__(self) -> None:
        self._settings: dict[str, Any] | None = None

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        """The request with an exact Kubernetes version; UsageError for values that no local cluster can have."""
        from koalesce.toolchain import Toolchain

        for field, known in _VALUES.items():
            if getattr(request, field) not in known:
                raise _unknown(_camel(field), getattr(request, field), known)
        if request.etcd.get("mode", "process") != "process":
            raise _unknown("etcd.mode", request.etcd["mode"], ("process",))
        if tuple(request.ip_families) != ("IPv4",):
            raise _unknown("ipFamilies", ", ".join(request.ip_families), ("IPv4",))
        if request.settings:
            raise _unknown("providers.local", next(iter(request.settings)), ())
        return dataclasses.replace(request, kubernetes=Toolchain().resolve_version(request.kubernetes))

    def check(self, request: ClusterRequest) -> list[str]:
        """What this machine lacks."""
        return machine_problems()

    def prepare(self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None) -> None:
        """Find or make the binaries and images of this Kubernetes version."""
        from koalesce.toolchain import Toolchain

        toolchain = Toolchain(progress=progress, cancel=cancel)
        tools = toolchain.local_cluster(request.kubernetes, dns=request.dns)
        self._settings = {"tools": _plain(tools), "image_store": str(toolchain.images.root)}

    def variables(self, request: ClusterRequest, folder: Path) -> dict[str, Any]:
        """Terraform variables of the contract."""
        if self._settings is None:
            raise ValueError("prepare() comes before variables()")
        return {
            "name": request.name,
            "run_id": request.run_id,
            "kubernetes_version": request.kubernetes,
            "nodes": [_plain(node) for node in request.nodes],
            "network": request.network,
            "kube_proxy": request.kube_proxy,
            "dns": request.dns,
            "pod_cidr": request.pod_cidr,
            "service_cidr": request.service_cidr,
            "ip_families": list(request.ip_families),
            "egress": request.egress,
            "etcd": dict(request.etcd),
            "control_plane": request.control_plane,
            "feature_gates": dict(request.feature_gates),
            "runtime_config": dict(request.runtime_config),
            "component_args": _plain(request.args),
            "images": list(request.images),
            "preload": list(request.preload),
            "pki_dir": str(folder / "pki"),
            "state_dir": str(folder),
            "koalesce_command": koalesce_command(),
            "settings": self._settings,
        }

    def remains(self, name: str) -> list[str]:
        """Processes, links, mounts, cgroups and files of the cluster that are still there."""
        from koalesce.local import ledger

        return ledger.remains(name)

    def remove(self, name: str) -> None:
        """Remove them."""
        from koalesce.local import ledger

        ledger.remove(name)


def koalesce_command() -> list[str]:
    """The argv that runs this very Koalesce, wherever it is run from (-P: never a package of the working folder)."""
    return [sys.executable, "-P", "-m", "koalesce"]


def machine_problems(root: Path = Path("/")) -> list[str]:
    """What a machine (its file system at `root`) lacks for local clusters, as sentences that say what to do."""
    if platform.system() != "Linux":
        return ["local clusters need Linux; use another cluster provider on this machine"]
    if os.geteuid() != 0:
        return ["local clusters need root (they make namespaces, mounts and network links); run koalesce with sudo"]
    return [
        *_missing_capabilities(root),
        *_missing_namespaces(root),
        *_missing_cgroups(root),
        *_missing_overlay(root),
        *_missing_terraform(),
    ]


def _missing_capabilities(root: Path) -> list[str]:
    status = dict(line.partition(":")[::2] for line in (root / "proc/self/status").read_text().splitlines())
    held = int(status.get("CapEff", "0").strip(), 16)
    missing = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if not missing:
        return []
    return [f"root lacks {', '.join(missing)} here; in a container, run it as a privileged one"]


def _missing_namespaces(root: Path) -> list[str]:
    missing = [kind for kind in _NAMESPACES if not (root / "proc/self/ns" / kind).exists()]
    return [f"the kernel has no namespaces of kind {', '.join(missing)}"] if missing else []


def _missing_cgroups(root: Path) -> list[str]:
    unified = root / "sys/fs/cgroup/cgroup.controllers"
    if unified.exists():
        there = {*unified.read_text().split(), "cpuacct", "devices", "freezer"}  # part of version 2 itself
    else:
        there = {name for name in _CONTROLLERS if (root / "sys/fs/cgroup" / name).is_dir()}
    if not there & {"memory", "pids"}:
        return ["no cgroups are mounted at /sys/fs/cgroup; in a container, run it as a privileged one"]
    missing = [name for name in _CONTROLLERS if name not in there]
    return [f"cgroup controllers are missing at /sys/fs/cgroup: {', '.join(missing)}"] if missing else []


def _missing_overlay(root: Path) -> list[str]:
    if "overlay" in (root / "proc/filesystems").read_text().split():
        return []
    modules = root / "lib/modules" / os.uname().release / "modules.dep"
    if modules.exists() and "/overlay.ko" in modules.read_text():
        return []  # loaded by the first mount
    return ["the kernel has no overlay file system (CONFIG_OVERLAY_FS)"]


def _missing_terraform() -> list[str]:
    from koalesce.terraform.binary import find_problem

    problem = find_problem()
    return [problem] if problem else []


def _unknown(field: str, value: object, known: tuple[str, ...]) -> UsageError:
    have = f"; it has {', '.join(known)}" if known else ""
    return UsageError(f'the local provider has no {field} "{value}"{have}')


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.upper() if word == "dns" else word.capitalize() for word in rest)


def _plain(value: Any) -> Any:
    """JSON values of dataclasses, mappings, tuples and paths."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value

"""A node's share of the machine's processors and memory: what it sees, what is left to pods, what its cgroup enforces.

A kubelet takes its capacity from /proc/meminfo and the processors that are online (cAdvisor's machine info), and what of it pods may
have from its configuration. Whole processors are the node's by its cpuset; a fraction is kept from pods, and enforced with cgroup v2.
A quota on v1 would make the kernel refuse pods whose limits add up to more, which nodes elsewhere run.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from koalesce.errors import ProvisionError
from koalesce.local.cgroups import Layout
from koalesce.records import dataclass

_PERIOD = 100_000  # µs, the kernel's default
_MEMINFO = "/proc/meminfo"
_ONLINE = "/sys/devices/system/cpu/online"
_FREE = ("MemTotal", "MemFree", "MemAvailable")
_TOPOLOGY = Path("/sys/devices/system/node/node0")


class SizedDisk(Protocol):
    """A disk, which is kept in memory: where it is, and how many bytes it holds."""

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


class Sized(Protocol):
    """What says how large a node shall be: processors, and bytes of memory; 0: all that the machine has."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def cpu(self) -> float: ...  # noqa: D102
    @property
    def memory(self) -> int: ...  # noqa: D102
    @property
    def disks(self) -> Sequence[SizedDisk]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a node has: `cpu` processors, all or a part of `processors` (by their numbers; empty: all), and bytes of memory (0: all)."""

    cpu: float = 0
    processors: tuple[int, ...] = ()
    memory: int = 0

    def masks(self, meminfo: str) -> dict[str, str]:
        """Files of the kernel that the node sees otherwise than the machine, whose /proc/meminfo is given."""
        online = {_ONLINE: f"{','.join(map(str, self.processors))}\n"} if self.processors else {}
        return {**online, **({_MEMINFO: _limited(meminfo, self.memory // 1024)} if self.memory else {})}

    def reserved(self, *, is_topology_seen: bool | None = None) -> dict[str, str]:
        """What the kubelet keeps from pods (`systemReserved`): processors that it counts, and the node doesn't have."""
        if not self.cpu:
            return {}
        is_seen = _TOPOLOGY.exists() if is_topology_seen is None else is_topology_seen
        counted = len(self.processors) if is_seen else os.cpu_count() or 1  # without topology it counts all
        spare = round((counted - self.cpu) * 1000)
        return {"cpu": f"{spare}m"} if spare else {}

    def enforce(self, layout: Layout, folders: Sequence[Path]) -> None:
        """Write the limits into the node's cgroups, before anything is in them."""
        for hierarchy, folder in zip(layout.hierarchies, folders, strict=True):
            for file, text in self._limits(hierarchy.version, hierarchy.controllers).items():
                (folder / file).write_text(text)

    def _limits(self, version: int, controllers: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        if "memory" in controllers and self.memory:
            found["memory.max" if version == 2 else "memory.limit_in_bytes"] = str(self.memory)
        if "cpuset" in controllers and self.processors:
            found["cpuset.cpus"] = ",".join(map(str, self.processors))
        if "cpu" in controllers and self.cpu < len(self.processors) and version == 2:
            found["cpu.max"] = f"{round(self.cpu * _PERIOD)} {_PERIOD}"
        return found


def shares(nodes: Iterable[Sized], present: Sequence[int] | None = None) -> dict[str, Share]:
    """The share of each node by its name; nodes take turns with the processors that are `present` (default: those that we may use)."""
    usable = sorted(os.sched_getaffinity(0)) if present is None else present
    taken = 0
    found: dict[str, Share] = {}
    for node in nodes:
        count = math.ceil(node.cpu)
        chosen = sorted({usable[number % len(usable)] for number in range(taken, taken + count)})
        found[node.name] = Share(cpu=node.cpu, processors=tuple(chosen), memory=node.memory)
        taken += count
    return found


def problems(nodes: Iterable[Sized], *, processors: int | None = None, meminfo: str | None = None) -> list[str]:
    """Which nodes shall have more than this machine has, as sentences."""
    usable = len(os.sched_getaffinity(0)) if processors is None else processors
    total = _total(read_meminfo() if meminfo is None else meminfo) * 1024
    found: list[str] = []
    for node in nodes:
        if node.cpu > usable:
            found.append(f"node {node.name} shall have {node.cpu:g} processors, and this machine has {usable}")
        if node.memory > total:
            wanted = f"{node.memory / 2**30:.3g} GiB"
            found.append(
                f"node {node.name} shall have {wanted} of memory, and this machine has {total / 2**30:.3g} GiB"
            )
        for disk in node.disks:
            if disk.size > total:
                wanted = f"{disk.size / 2**30:.3g} GiB at {disk.path}"
                found.append(
                    f"node {node.name} shall have a disk of {wanted}, which is kept in memory, and this machine has "
                    f"{total / 2**30:.3g} GiB"
                )
    return found


def read_meminfo() -> str:
    """What the kernel says of the machine's memory."""
    return Path(_MEMINFO).read_text()


def _total(meminfo: str) -> int:
    found = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    if found is None:
        raise ProvisionError(f"{_MEMINFO} doesn't tell how much memory this machine has")
    return int(found[1])


def _limited(meminfo: str, kilobytes: int) -> str:
    """That of a machine with so much memory, all of it free (proc_meminfo(5)): nothing but the total is looked at by kubelets."""
    lines = []
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith("kB") and name != "Hugepagesize":
            rest = f"{kilobytes if name in _FREE else 0:>15} kB"
        lines.append(f"{name}:{rest}\n")
    return "".join(lines)

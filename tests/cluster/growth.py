"""What the kernel holds for all of a machine, and whether that grows with each cluster that came and went, beside others that come and go."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

_OTHERS = 3  # clusters that others may have at the end and hadn't at the beginning
# What the kernel gives back when it likes (cgroups, until memory is short, of clusters that are gone), or what others' programs make: told only.
_TOLD = frozenset(("cgroups", "kernel memory (KiB)", "tracked connections", "open files", "sockets"))


def figures() -> dict[str, int]:
    """What the kernel holds for all of the machine.

    Cgroups are counted until they are forgotten, some time after they were removed; namespaces, mounts and tracked connections wherever they are.
    """
    memory = dict(re.findall(r"^(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE))
    slabs = {line.split()[0]: int(line.split()[1]) for line in Path("/proc/slabinfo").read_text().splitlines()[2:]}
    return {
        "cgroups": sum(int(line.split()[2]) for line in Path("/proc/cgroups").read_text().splitlines()[1:]),
        "network namespaces": slabs.get("net_namespace", 0),
        "mounts": slabs.get("mnt_cache", 0),
        "processes": len(list(Path("/proc").glob("[0-9]*"))),
        "open files": int(Path("/proc/sys/fs/file-nr").read_text().split()[0]),
        "sockets": slabs.get("sock_inode_cache", 0),
        "tracked connections": slabs.get("nf_conntrack", 0),
        "watches of files": slabs.get("inotify_inode_mark", 0),
        "keys": sum(int(line.split()[1]) for line in Path("/proc/key-users").read_text().splitlines()),
        "kernel memory (KiB)": int(memory["SUnreclaim"]) + int(memory["KernelStack"]) + int(memory["PageTables"]),
        "temporary files": len(list(Path("/tmp").iterdir())),
    }


def held(up: Sequence[Mapping[str, int]], down: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """What a cluster holds while it is up: what most of them do, as others change the machine meanwhile."""
    return {
        name: int(statistics.median(is_[name] - then[name] for is_, then in zip(up, down, strict=True)))
        for name in down[0]
    }


def too_much(down: Sequence[Mapping[str, int]], cluster: Mapping[str, int]) -> dict[str, str]:
    """What has grown, from the quietest moment of the first quarter to that of the last, by more than half of one each cycle and what others may have."""
    quarter = max(1, len(down) // 4)
    found = {}
    for name in down[0].keys() - _TOLD:
        least = [min(each[name] for each in those) for those in (down[:quarter], down[-quarter:])]
        allowed = (len(down) - quarter) // 2 + _OTHERS * max(cluster[name], 0)
        if least[1] - least[0] > allowed:
            found[name] = f"from {least[0]} to {least[1]} in {len(down)} cycles; a cluster has {cluster[name]}"
    return found


def slope(values: Sequence[float]) -> float:
    """By how much they grow from one to the next, by least squares: one that happens to be high or low says little."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    return sum((at - middle) * (value - mean) for at, value in enumerate(values)) / sum(
        (at - middle) ** 2 for at in range(len(values))
    )

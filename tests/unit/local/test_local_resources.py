from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from koalesce.local.cgroups import Hierarchy, Layout
from koalesce.local.request import DiskSpec
from koalesce.local.resources import Share, problems, shares

MEMINFO = "MemTotal:       24000000 kB\nMemFree:  1 kB\nCached:  7 kB\nSwapTotal: 9 kB\nHugePages_Total:  3\nHugepagesize:  2048 kB\n"


@dataclass(frozen=True)
class Node:
    name: str
    cpu: float = 0
    memory: int = 0
    disks: tuple[DiskSpec, ...] = ()


def test_nodes_take_turns_with_the_processors() -> None:
    found = shares([Node("a", 1), Node("b", 2), Node("c"), Node("d", 0.5), Node("e", 4)], present=[0, 2, 4, 6])

    assert {name: share.processors for name, share in found.items()} == {
        "a": (0,), "b": (2, 4), "c": (), "d": (6,), "e": (0, 2, 4, 6),
    }  # fmt: skip


def test_a_fraction_is_kept_from_pods() -> None:
    assert Share(cpu=1.5, processors=(0, 1)).reserved(is_topology_seen=True) == {"cpu": "500m"}
    assert Share(cpu=2, processors=(0, 1)).reserved(is_topology_seen=True) == {}
    assert Share().reserved(is_topology_seen=False) == {}


def test_a_kubelet_that_counts_all_processors_keeps_the_others_from_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)

    assert Share(cpu=1.5, processors=(0, 1)).reserved(is_topology_seen=False) == {"cpu": "6500m"}


def test_a_node_sees_a_machine_of_its_size_without_swap() -> None:
    masks = Share(cpu=2, processors=(1, 3), memory=2**20).masks(MEMINFO)

    assert masks["/sys/devices/system/cpu/online"] == "1,3\n"
    assert masks["/proc/meminfo"].splitlines() == [
        "MemTotal:           1024 kB", "MemFree:           1024 kB", "Cached:              0 kB", "SwapTotal:              0 kB",
        "HugePages_Total:  3", "Hugepagesize:  2048 kB",
    ]  # fmt: skip
    assert Share().masks(MEMINFO) == {}


def test_cgroups_of_both_versions_enforce_it(tmp_path: Path) -> None:
    share = Share(cpu=1.5, processors=(0, 1), memory=2**30)
    old = Layout(tuple(Hierarchy(tmp_path / name, 1, name) for name in ("cpu", "cpuset", "memory", "pids")))
    new = Layout((Hierarchy(tmp_path, 2),))
    (tmp_path / "cgroup.controllers").write_text("cpu cpuset memory pids")

    assert written(share, old, tmp_path) == {"cpuset/cpuset.cpus": "0,1", "memory/memory.limit_in_bytes": "1073741824"}
    assert written(share, new, tmp_path) == {
        "/cpu.max": "150000 100000", "/cpuset.cpus": "0,1", "/memory.max": "1073741824",
    }  # fmt: skip
    assert written(Share(), new, tmp_path) == {}
    assert "/cpu.max" not in written(Share(cpu=2, processors=(0, 1)), new, tmp_path)


def written(share: Share, layout: Layout, root: Path) -> dict[str, str]:
    """What is written where, by the folder below a fresh one of the node's."""
    node = root / f"node-{len(list(root.glob('node-*')))}"
    folders = [node / hierarchy.options for hierarchy in layout.hierarchies]
    for folder in folders:
        folder.mkdir(parents=True)
    share.enforce(layout, folders)
    files = [path for path in node.rglob("*") if path.is_file()]
    return {f"{'' if path.parent == node else path.parent.name}/{path.name}": path.read_text() for path in files}


def test_more_than_the_machine_has_is_a_problem() -> None:
    disks = (DiskSpec(path="/mnt/small", size=2**20), DiskSpec(path="/mnt/large", size=2**36))
    asked = [Node("a", 2, 2**30), Node("b", 3), Node("c", 0, 2**35), Node("d", disks=disks)]

    assert problems(asked, processors=2, meminfo=MEMINFO) == [
        "node b shall have 3 processors, and this machine has 2",
        "node c shall have 32 GiB of memory, and this machine has 22.9 GiB",
        "node d shall have a disk of 64 GiB at /mnt/large, which is kept in memory, and this machine has 22.9 GiB",
    ]

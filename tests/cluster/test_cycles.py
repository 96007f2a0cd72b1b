"""Up and down again and again: nothing grows. `make soak` does it 100 times; KOALESCE_CYCLES says how often."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from koalesce.assets import cache_dir
from tests.cluster.whole_machine import LOCAL_CLUSTERS, Machine

NAME = "t-cycle"
COUNT = int(os.environ.get("KOALESCE_CYCLES", "0"))
SPEC = f"""
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {{name: {NAME}}}
cluster: {{nodes: 2, egress: host}}
tests: []
"""
PATIENCE = 180.0

pytestmark = [
    *LOCAL_CLUSTERS,
    pytest.mark.skipif(COUNT < 2, reason="KOALESCE_CYCLES is not set: `make soak` does so"),
]


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
        "keys": sum(int(line.split()[1]) for line in Path("/proc/key-users").read_text().splitlines()),
        "kernel memory (KiB)": int(memory["SUnreclaim"]) + int(memory["KernelStack"]) + int(memory["PageTables"]),
        "temporary files": len(list(Path("/tmp").iterdir())),
    }


def cached() -> set[str]:
    return {str(path) for path in cache_dir().rglob("*")}


def koalesce(folder: Path, *words: str) -> None:
    environment = {**os.environ, "KOALESCE_STATE_DIR": str(folder / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "koalesce", *words], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_nothing_grows(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "state" / "clusters").mkdir(parents=True)
    (tmp_path / "state" / "terraform").mkdir()
    before = Machine(tmp_path / "state", NAME)
    told: list[dict[str, int]] = []
    made: dict[str, int] = {}
    files: set[str] = set()
    for number in range(COUNT):
        koalesce(tmp_path, "up", "spec.yaml", "--name", NAME)
        up = figures()
        koalesce(tmp_path, "down", NAME)
        assert left(before) == [], f"after cycle {number + 1}"
        told.append(figures())
        made = made or {name: up[name] - value for name, value in told[0].items()}
        print(f"{number + 1:4}", "  ".join(f"{name} {value}" for name, value in told[-1].items()), flush=True)
        if number == 0:
            files = cached()
    print("each cycle:", "  ".join(f"{name} {slope([each[name] for each in told]):+.1f}" for name in told[0]))
    assert cached() - files == set()
    # Others use the machine, too: what a cycle leaves each time adds up to more than a cluster of theirs.
    grown = {name: told[-1][name] - told[0][name] for name in told[0]}
    allowed = {name: max(made[name], 0) * (1 + COUNT // 4) for name in ("cgroups", "network namespaces", "mounts")}
    assert {name: grown[name] for name in allowed if grown[name] > allowed[name]} == {}, (
        f"{grown}, of {made} in each cycle"
    )


def slope(values: Sequence[float]) -> float:
    """By how much they grow from one to the next, by least squares: one that happens to be high or low says little."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    return sum((at - middle) * (value - mean) for at, value in enumerate(values)) / sum(
        (at - middle) ** 2 for at in range(len(values))
    )


def left(before: Machine) -> list[str]:
    """What is there and wasn't, once the kernel has had some time."""
    deadline = time.monotonic() + 60
    while (found := before.left()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found

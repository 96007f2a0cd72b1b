"""A disk without room, and a node that runs out of memory: whatever becomes of the cluster, the next call of Koalesce leaves the machine as it was."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from koalesce.process import CommandError, run
from tests.cluster.patience import eventually
from tests.cluster.whole_machine import LOCAL_CLUSTERS
from tests.cluster.world import COMMANDS, NAME, World

KIB = 1024
ROOM = 4 * KIB * KIB  # KiB, once there is room again
LIMIT, MOST = (
    512 * KIB * KIB,
    1024 * KIB * KIB,
)  # bytes: of the node, and of a process that the node's limit doesn't stop
SMALL = f"""
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {{name: {NAME}}}
cluster: {{nodes: [{{name: control-plane, role: control-plane}}, {{name: small, memory: 512Mi}}]}}
tests: []
"""
EATER = "all = []\nwhile True: all.append(b'x' * 2**20)"

pytestmark = [*LOCAL_CLUSTERS]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own for the state folder, in memory: the machine's stays as it is."""
    folder = tmp_path / "state"
    folder.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"mode=0700,size={ROOM}k", "koalesce-test", str(folder)], timeout=20).check()
    yield folder
    run(["umount", "--lazy", str(folder)], timeout=20).check()


def resize(disk: Path, kib: int) -> None:
    run(["mount", "-o", f"remount,size={kib}k", str(disk)], timeout=20).check()


@pytest.mark.parametrize("kib", [16, 8 * KIB])
def test_a_disk_without_room_is_said_and_nothing_is_left(tmp_path: Path, disk: Path, kib: int) -> None:
    world = World(tmp_path)
    resize(disk, kib)

    with world.start(*COMMANDS["up"]) as up:
        out, _ = up.communicate(timeout=300)
    resize(disk, ROOM)

    assert up.returncode != 0, out
    assert "a local cluster needs 512 MiB" in out
    assert "Traceback" not in out
    world.restore()


def test_a_node_that_runs_out_of_memory_is_removed_as_any_other(tmp_path: Path) -> None:
    world = World(tmp_path, SMALL)
    try:
        assert "is up" in world.call(*COMMANDS["up"])
        entry = world.ledger.find(NAME)
        assert entry is not None
        groups = [Path(thing.name, "small") for thing in entry.things if thing.kind == "cgroup"]
        (group,) = [
            group for group in groups if (group / "memory.limit_in_bytes").exists() or (group / "memory.max").exists()
        ]

        def on_the_node() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
            (group / "cgroup.procs").write_text(str(os.getpid()))

        eater = subprocess.run([sys.executable, "-c", EATER], preexec_fn=on_the_node, check=False, timeout=120)

        assert eater.returncode == -signal.SIGKILL
    finally:
        world.call("down", NAME)
    assert world.left() == []


@pytest.mark.parametrize("place", ["terraform/*", "clusters/*", "clusters/*/nodes"])
def test_a_disk_that_fills_up_during_a_start_is_said_and_nothing_is_left(
    tmp_path: Path, disk: Path, place: str
) -> None:
    """A cluster that needs no more room at that moment may come up all the same."""
    world = World(tmp_path)

    with world.start(*COMMANDS["up"]) as up:
        eventually(lambda: any(disk.glob(place)))
        fill(disk)
        out, _ = up.communicate(timeout=300)
    resize(disk, ROOM)

    assert up.returncode == 0 or "No space left on device" in out or "make room on the disk that holds" in out, out
    assert "Traceback" not in out
    world.restore()


def fill(disk: Path) -> None:
    """Leave it no more room than what is used of it: a smaller size is refused."""
    while True:
        status = os.statvfs(disk)
        with contextlib.suppress(CommandError):
            return resize(disk, (status.f_blocks - status.f_bfree) * status.f_frsize // KIB)

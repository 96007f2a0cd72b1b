"""Up and down again and again: nothing grows. `make soak` does it 100 times; KOALESCE_CYCLES says how often."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from koalesce.assets import cache_dir
from tests.cluster.growth import figures, held, slope, too_much
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
    ups: list[dict[str, int]] = []
    files: set[str] = set()
    for number in range(COUNT):
        koalesce(tmp_path, "up", "spec.yaml", "--name", NAME)
        ups.append(figures())
        koalesce(tmp_path, "down", NAME)
        assert left(before) == [], f"after cycle {number + 1}"
        told.append(figures())
        print(f"{number + 1:4}", "  ".join(f"{name} {value}" for name, value in told[-1].items()), flush=True)
        if number == 0:
            files = cached()
    print("a cluster:", "  ".join(f"{name} {value}" for name, value in held(ups, told).items()))
    print("each cycle:", "  ".join(f"{name} {slope([each[name] for each in told]):+.1f}" for name in told[0]))
    assert cached() - files == set()
    assert too_much(told, held(ups, told)) == {}


def left(before: Machine) -> list[str]:
    """What is there and wasn't, once the kernel has had some time."""
    deadline = time.monotonic() + 60
    while (found := before.left()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found

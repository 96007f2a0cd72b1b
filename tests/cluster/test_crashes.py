"""Whatever is interrupted or killed, and whenever: the next call of Koalesce leaves the machine as it was before.

Signals hit the command line, Terraform or the supervisor at random moments of `up`, `run` and `down`. KOALESCE_CRASHES says how many
moments (`make soak`: 100), KOALESCE_CRASH_SEED which ones; it is a part of the tests' names.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from koalesce.cli import exit_codes
from tests.cluster.whole_machine import LOCAL_CLUSTERS
from tests.cluster.world import COMMANDS, NAME, PATIENCE, World

COUNT = int(os.environ.get("KOALESCE_CRASHES", "6"))
SEED = int(os.environ["KOALESCE_CRASH_SEED"])  # drawn by chance where it isn't given

pytestmark = [*LOCAL_CLUSTERS]


@dataclass(frozen=True, slots=True)
class Crash:
    """A signal to somebody, after a share of the time that a command takes."""

    command: str
    victim: str
    number: signal.Signals
    share: float

    def __str__(self) -> str:
        return f"{self.command}-{self.victim}-{self.number.name}-{self.share:.2f}"


def crashes(seed: int, count: int) -> list[Crash]:
    """The moments; all commands, victims and signals have their turn, each time in another order."""
    chance = random.Random(seed)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    kinds = [(c, v, n) for c in COMMANDS for v in ("cli", "terraform", "supervisor") for n in numbers]
    turns = [kind for _ in range(count // len(kinds) + 1) for kind in chance.sample(kinds, len(kinds))]
    return [Crash(*turn, chance.uniform(0.02, 0.98)) for turn in turns[:count]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("crashes"))
    world.measure()
    yield world
    world.call("down", NAME)


@pytest.mark.parametrize("crash", crashes(SEED, COUNT), ids=lambda crash: f"{SEED}-{crash}")
def test_the_next_call_restores_the_machine(world: World, crash: Crash) -> None:
    if crash.command == "down":
        assert "is up" in world.call(*COMMANDS["up"])

    with world.start(*COMMANDS[crash.command]) as cli:
        print(_hit(world, crash, cli))
    world.restore()


@pytest.mark.parametrize("share", [random.Random(SEED).uniform(0.1, 0.9)], ids=lambda share: f"{SEED}-{share:.2f}")
def test_a_run_that_is_started_when_another_dies_is_not_disturbed(world: World, share: float) -> None:
    """It begins by removing what dead runs left, which the other's supervisor may be at."""
    with world.start(*COMMANDS["run"]) as cli:
        print(_hit(world, Crash("run", "cli", signal.SIGKILL, share), cli))

    with world.start(*COMMANDS["run"]) as second:
        out, _ = second.communicate(timeout=PATIENCE)

    assert second.returncode == exit_codes.PASSED, out
    world.restore()


def _hit(world: World, crash: Crash, cli: subprocess.Popen[str]) -> str:
    """Send the signal when its time has come and there is somebody to get it; returns what the command said till its end."""
    moment = time.monotonic() + crash.share * world.seconds[crash.command]
    while cli.poll() is None:
        if time.monotonic() >= moment and (pids := world.pids(crash.victim, cli.pid)):
            for pid in pids:
                _send(pid, crash.number)
            break
        time.sleep(0.01)
    out, _ = cli.communicate(timeout=PATIENCE)
    return out


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, number)

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
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from koalesce.local.ledger import Ledger
from koalesce.terraform.binary import NAMES, VARIABLE
from koalesce.terraform.client import LOG_FILE
from tests.cluster.whole_machine import LOCAL_CLUSTERS, Machine

NAME = "t-crash"
SPEC = f"""
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {{name: {NAME}}}
cluster: {{nodes: 1, egress: host}}
tests:
  - name: there is a node
    steps:
      - assert: {{resource: nodes, count: 1}}
"""
TERRAFORM = {*NAMES, Path(os.environ.get(VARIABLE) or NAMES[0]).name}
COUNT = int(os.environ.get("KOALESCE_CRASHES", "6"))
SEED = int(os.environ["KOALESCE_CRASH_SEED"])  # drawn by chance where it isn't given
PATIENCE = 180.0
COMMANDS = {
    "up": ["up", "spec.yaml", "--name", NAME],
    "run": ["run", "spec.yaml"],
    "down": ["down", NAME],
}


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


class World:
    """A state folder of the tests' own, and the machine as it was before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir()
        (folder / "spec.yaml").write_text(SPEC)
        self.ledger = Ledger(self.state / "clusters")
        self.ledger.folder.mkdir()
        (self.state / "terraform").mkdir()
        self.environment = {**os.environ, "KOALESCE_STATE_DIR": str(self.state)}
        self.before = Machine(self.state, NAME)
        self.seconds: dict[str, float] = {}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "koalesce", *words],
            cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def call(self, *words: str) -> str:
        with self.start(*words) as done:
            out, _ = done.communicate(timeout=PATIENCE)
        return out

    def measure(self) -> None:
        """How long the commands take undisturbed, on the machine as it is now."""
        for command, words in COMMANDS.items():
            if command == "down" and not self.ledger.find(NAME):
                self.call(*COMMANDS["up"])
            began = time.monotonic()
            out = self.call(*words)
            self.seconds[command] = time.monotonic() - began
            assert command == "run" or NAME in out, out
            if command == "up":
                assert self.left() != [], "a cluster that is up can't be seen"
                self.call("down", NAME)

    def pids(self, victim: str, cli: int) -> list[int]:
        """The processes of a victim that run now."""
        if victim == "cli":
            return [cli]
        if victim == "supervisor":
            found = [entry.supervisor for entry in self.ledger.entries() if entry.supervisor is not None]
            return [process.pid for process in found if process.is_alive]
        return [pid for pid in self._ours() if _program(pid) in TERRAFORM]

    def _ours(self) -> Iterator[int]:
        mark = f"KOALESCE_STATE_DIR={self.state}".encode()
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (path / "environ").read_bytes():
                    yield int(path.name)
            except OSError:
                continue

    def left(self) -> list[str]:
        """What is there and wasn't before; the log of an apply that failed stays for people."""
        return [
            thing
            for thing in self.before.left()
            if not thing.endswith(f"/{LOG_FILE}") and not self._is_log_folder(thing)
        ]

    def _is_log_folder(self, thing: str) -> bool:
        folder = Path(thing.removeprefix("file "))
        return folder.parent == self.state / "terraform" and [path.name for path in folder.glob("*")] == [LOG_FILE]


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


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
        out = _hit(world, crash, cli)
    swept = world.call("sweep")
    for entry in world.ledger.entries():  # the crash came too late, or hit nobody: the cluster is kept
        assert entry.keep, f"{swept}\n{entry}"
        world.call("down", entry.name)

    deadline = time.monotonic() + 60
    while (left := world.left()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == [], f"{crash}\n{out}\n{swept}"


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

"""A state folder of a test's own, in which commands run as users run them, and what they left of a cluster on the whole machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from koalesce.local.ledger import Ledger
from koalesce.terraform.binary import NAMES, VARIABLE
from koalesce.terraform.client import LOG_FILE
from tests.cluster.whole_machine import Machine

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
PATIENCE = 180.0
COMMANDS = {
    "up": ["up", "spec.yaml", "--name", NAME],
    "run": ["run", "spec.yaml"],
    "down": ["down", NAME],
}


class World:
    """A state folder of the tests' own, and the machine as it was before."""

    def __init__(self, folder: Path, spec: str = SPEC) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir(exist_ok=True)
        (folder / "spec.yaml").write_text(spec)
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

    def restore(self) -> str:
        """Call Koalesce once more, end what is kept, and see that nothing is left; what the call said."""
        swept = self.call("sweep")
        for entry in self.ledger.entries():  # a crash came too late, or hit nobody: the cluster is kept
            assert entry.keep, f"{swept}\n{entry}"
            self.call("down", entry.name)
        deadline = time.monotonic() + 60
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == [], swept
        return swept

    def _is_log_folder(self, thing: str) -> bool:
        folder = Path(thing.removeprefix("file "))
        return folder.parent == self.state / "terraform" and [path.name for path in folder.glob("*")] == [LOG_FILE]


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""

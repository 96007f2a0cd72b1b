"""What processors work for one run: for its nodes, its supervisor, and the command with the programs that it runs (Terraform above all)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koalesce.events import AnyEvent, ClusterReady, TestFinished, from_json
from koalesce.local import cgroups
from koalesce.local.ledger import Entry, Ledger

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK = 0.02


@dataclass(slots=True)
class Work:
    """Follows a run by the file of its events; `phases` are those of its supervisor, `seconds` the work until its test ended."""

    command: int
    events: Path
    phases: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    _entry: Entry | None = None
    _rest: bytes = b""

    @contextlib.contextmanager
    def followed(self) -> Iterator[None]:
        """Look while the block runs."""
        ended = threading.Event()

        def follow() -> None:
            while not self.events.exists():
                if ended.wait(_LOOK):
                    return
            with self.events.open("rb") as file:
                while not ended.wait(_LOOK):
                    self._read(file.read())

        following = threading.Thread(target=follow)
        following.start()
        try:
            yield
        finally:
            ended.set()
            following.join()

    def _read(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._handle(from_json(line.decode()))

    def _handle(self, event: AnyEvent) -> None:
        match event:
            case ClusterReady():
                self._entry = Ledger().find(event.cluster)
                self.phases = json.loads((Path(event.kubeconfig).parent / "phases.json").read_text())["phases"]
            case TestFinished() if self._entry and self._entry.supervisor:
                groups = [Path(thing.name) for thing in self._entry.things if thing.kind == "cgroup"]
                self.seconds = {
                    "nodes": cgroups.cpu_seconds(groups),
                    "supervisor": _of_process(self._entry.supervisor.pid),
                    "command and Terraform": _of_process(self.command),
                }
            case _:
                pass


def _of_process(pid: int) -> float:
    """What processors have worked for a process and for its children that have ended (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS


def machine_seconds() -> float:
    """What all processors of the machine have worked (proc_stat(5): user, nice, system)."""
    fields = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return sum(int(field) for field in fields) / _TICKS


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """A process that takes all of a core; it ends with us, or after some hours."""
    code = "import time; end = time.monotonic() + 10800\nwhile time.monotonic() < end: pass"
    burning = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        burning.kill()
        burning.wait()

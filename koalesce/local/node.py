"""A node as the supervisor sees it: its init's process, its namespaces, its services."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import koalesce
from koalesce.errors import ProvisionError
from koalesce.local.nodeinit import LOGS, InitConfig
from koalesce.records import dataclass

NAMESPACES = ("mnt", "uts", "ipc", "net", "pid", "cgroup")
ENVIRONMENT = {
    "PATH": "/opt/koalesce/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
# Programs in Go collect garbage when their heap has grown fivefold instead of twofold: an API server starts a third of a second sooner.
_GO = {"GOGC": "400"}
_START = "import sys; sys.path.insert(0, sys.argv[1]); from koalesce.local.nodeinit import main; main(int(sys.argv[2]))"
_OPTIONS = {"mnt": "mount", "uts": "uts", "ipc": "ipc", "net": "net", "pid": "pid", "cgroup": "cgroup"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program that a node's init runs and, where `restart` says so, starts again when it ends."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=_GO.copy)
    restart: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """A service of a node ended; `exits` counts how often in a row."""

    node: str
    service: str
    code: int
    exits: int


def exec_prefix(process: Path | str) -> list[str]:
    """The argv prefix that runs a command on a node, given /proc/PID of its init or a link to that."""
    namespaces = [f"--{_OPTIONS[name]}={process}/ns/{name}" for name in NAMESPACES]
    variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    return ["nsenter", *namespaces, "--", "/usr/bin/env", "-i", *variables]


class RunningNode:
    """A node that was started from the calling thread, and ends at the latest when that thread does."""

    def __init__(self, name: str, var: Path, *, on_ended: Callable[[Ended], None]) -> None:
        self.name = name
        self.var = var
        self.pid = 0
        self._on_ended = on_ended
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._up: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._come: dict[str, dict[str, Any]] = {}
        self._requests = threading.Lock()
        self._control, theirs = socket.socketpair()
        with (var / "init.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, str(_package_root()), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
                env=ENVIRONMENT,
            )
        theirs.close()

    def begin(self, config: InitConfig) -> None:
        """Send the init what it needs and wait until its network namespace exists (its root may not yet)."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is told below
            self._control.sendall(json.dumps(config).encode() + b"\n")
        threading.Thread(target=self._listen, name=f"node {self.name}", daemon=True).start()
        self.pid = self._await("pid")["pid"]

    def wait_up(self) -> None:
        """Wait until the node's root is built and its init takes requests."""
        self._await("up")

    def start(self, service: Service) -> None:
        """Have the init start a service."""
        self._request(
            op="start",
            name=service.name,
            argv=list(service.argv),
            environment=dict(service.environment),
            restart=service.restart,
        )

    def hold(self, service: str) -> None:
        """Have the init not start a service again once it has ended."""
        self._request(op="hold", name=service)

    def release(self, service: str) -> None:
        """Have the init start a held service, and again whenever it ends."""
        self._request(op="release", name=service)

    def signal(self, service: str, number: signal.Signals) -> None:
        """Have the init send a signal to a service, if it runs."""
        self._request(op="signal", name=service, signal=int(number))

    def services(self) -> Mapping[str, int]:
        """The services by name, each with its process in the node's pid namespace, 0 while it doesn't run."""
        found: Mapping[str, int] = self._request(op="services")["services"]
        return found

    def log_tail(self, service: str, lines: int = 12) -> str:
        """The last lines that a service (or `init`, or the last container of a static pod) wrote."""
        path = self.var / "init.log" if service == "init" else self.var / "log" / Path(LOGS).name / f"{service}.log"
        of_pod = self.var.glob(f"log/pods/*_{service}-{self.name}_*/{service}/*.log")
        try:
            path = max(of_pod, key=lambda file: file.stat().st_mtime, default=path)
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 65536))
                return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
        except OSError:
            return ""

    def kill(self) -> None:
        """Begin to end the node: the kernel ends a pid namespace with its init. `wait_ended` returns when all in it has ended."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # its init has just ended, and who started that is about to
                os.kill(self.pid or self._process.pid, signal.SIGKILL)

    def wait_ended(self) -> None:
        """Wait until nothing of a killed node runs."""
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._control.close()

    @property
    def has_ended(self) -> bool:
        """Whether its init has ended, and everything with it."""
        return self._process.poll() is not None

    def _await(self, event: str) -> dict[str, Any]:
        """Wait for what comes once. Two processes tell of a node's making: on a busy machine `up` may come before `pid`."""
        while event not in self._come:
            try:
                message = self._up.get(timeout=30)
            except queue.Empty:
                message = {"event": "failed", "message": "it did not answer within 30 s"}
            if message["event"] in ("failed", "closed"):
                raise ProvisionError(f"node {self.name} can't be made: {message.get('message') or self._last_words()}")
            self._come[message["event"]] = message
        return self._come[event]

    def _last_words(self) -> str:
        """Why an init ended that can't say so itself any more."""
        ended = "its init ended"
        with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
            code = self._process.wait(5)
            ended += f" with {f'exit code {code}' if code >= 0 else signal.Signals(-code).name}"
        return self.log_tail("init") or ended

    def _request(self, **request: Any) -> dict[str, Any]:
        with self._requests:
            try:
                self._control.sendall(json.dumps(request).encode() + b"\n")
                answer = self._answers.get(timeout=10)
            except (OSError, queue.Empty) as error:
                raise ProvisionError(f"node {self.name} does not answer") from error
        if message := answer.get("error"):
            raise ProvisionError(f"node {self.name}: {message}")
        return answer

    def _listen(self) -> None:
        with self._control.makefile("rb") as stream:
            for line in stream:
                message = json.loads(line)
                if "answer" in message:
                    self._answers.put(message)
                elif message["event"] == "ended":
                    self._on_ended(Ended(self.name, message["service"], message["code"], message["exits"]))
                elif message["event"] in ("pid", "up", "failed"):
                    self._up.put(message)
        self._up.put({"event": "closed"})


def _package_root() -> Path:
    return Path(koalesce.__file__).resolve().parent.parent

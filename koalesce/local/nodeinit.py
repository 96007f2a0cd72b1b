"""The first process of a node: makes its namespaces and root, reaps, and runs its services as an init system does.

Started as `python -I -S -c … CONTROL`, where CONTROL is a descriptor of a stream socket to the supervisor. Lines of JSON go both ways:
first comes the node's `InitConfig`, then requests; answers and events go back (see `node.py`). It ends, and with it everything in the
node, when the supervisor ends: the kernel kills it then, and an end of the stream says the same.
Only the standard library is there, and only modules that were imported before the root changed. Each node loads them anew: `dataclasses` and
`pathlib` alone would be a third of that work.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any, TypedDict

from koalesce.local import noderoot, syscalls
from koalesce.local.noderoot import RootPlan

LOGS = "/var/log/koalesce"
_ASKED_TO_END = (signal.SIGTERM,)
_BACK_OFF = (0.2, 1.0, 2.0, 5.0, 10.0)
_HEALTHY_AFTER = 30.0
_FILES = 1048576


class InitConfig(TypedDict):
    """What the init of a node is told. `cgroups` are the folders that the node joins, one of each hierarchy.

    `evacuate` names the cgroup below the node's own that it moves to on cgroup v2, so that controllers can be handed down; empty on v1.
    """

    hostname: str
    parent: int
    cgroups: list[str]
    evacuate: str
    root: RootPlan
    environment: dict[str, str]


class _Service:
    def __init__(self, name: str, argv: list[str], environment: dict[str, str], *, restart: bool) -> None:
        self.name = name
        self.argv = argv
        self.environment = environment
        self.restart = restart
        self.pid = 0
        self.started = 0.0
        self.exits = 0
        self.due: float | None = None
        self.held = False  # not started again until it is released


class _Init:
    def __init__(self, control: socket.socket, environment: dict[str, str]) -> None:
        self.control = control
        self.environment = environment
        self.services: dict[str, _Service] = {}
        self.received = b""

    def run(self) -> None:
        """Serve requests and reap until the supervisor is gone."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        self.send({"event": "up"})
        while True:
            ready, _, _ = select.select([self.control.fileno(), wake_read], [], [], self._next_due())
            if wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
            self._reap()
            if self.control.fileno() in ready and not self._receive():
                return
            self._start_due()

    def send(self, message: dict[str, Any]) -> None:
        """Tell the supervisor; that it is gone shows at the next read."""
        with contextlib.suppress(OSError):
            self.control.sendall(json.dumps(message).encode() + b"\n")

    def _next_due(self) -> float | None:
        due = [service.due for service in self.services.values() if service.due is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _receive(self) -> bool:
        data = self.control.recv(65536)
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                answer = self._handle(request)
            except (OSError, KeyError, ValueError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            self.send({"answer": request["op"], **answer})
        return bool(data)

    def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["op"]:
            case "start":
                service = _Service(request["name"], request["argv"], request["environment"], restart=request["restart"])
                self.services[service.name] = service
                self._start(service)
            case "hold":
                service = self.services[request["name"]]
                service.held, service.due = True, None
            case "release":
                service = self.services[request["name"]]
                service.held = False
                if not service.pid:
                    service.exits = 0
                    self._start(service)
            case "signal":
                service = self.services[request["name"]]
                service.exits = 0  # it doesn't end by itself: it is not to wait long for its next start
                if service.pid:
                    os.kill(service.pid, request["signal"])
            case "services":
                return {"services": {name: service.pid for name, service in self.services.items()}}
            case unknown:
                raise ValueError(f"unknown request {unknown!r}")
        return {"pid": service.pid}

    def _start(self, service: _Service) -> None:
        service.due = None
        service.started = time.monotonic()
        # A signal to a new process is forgotten (PyOS_AfterFork_Child) unless it waits until the process has taken our handlers off.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ASKED_TO_END)
        service.pid = os.fork()
        if service.pid == 0:
            _become(service, self.environment)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKED_TO_END)

    def _start_due(self) -> None:
        now = time.monotonic()
        for service in self.services.values():
            if service.due is not None and service.due <= now:
                self._start(service)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for service in self.services.values():
                if service.pid == pid:
                    self._ended(service, os.waitstatus_to_exitcode(status))

    def _ended(self, service: _Service, code: int) -> None:
        now = time.monotonic()
        service.pid = 0
        if now - service.started > _HEALTHY_AFTER:
            service.exits = 0
        service.exits += 1
        if service.restart and not service.held:
            service.due = now + _BACK_OFF[min(service.exits, len(_BACK_OFF)) - 1]
        with contextlib.suppress(OSError), open(_log(service.name), "a") as log:  # noqa: PTH123
            log.write(f"{_timestamp()} koalesce: {service.name} ended with code {code}\n")
        self.send({"event": "ended", "service": service.name, "code": code, "exits": service.exits})


def _become(service: _Service, environment: dict[str, str]) -> None:
    """In a new process: become the service. Never returns."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKED_TO_END)
        log = os.open(_log(service.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.execvpe(service.argv[0], service.argv, environment | service.environment)  # noqa: S606
    except BaseException as error:
        os.write(2, f"{_timestamp()} koalesce: can't start {service.argv[0]}: {error}\n".encode())
        os._exit(127)


def _timestamp() -> str:
    """The time as etcd writes it, so that our lines find their place among those of others."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1e6):06d}Z"


def _log(name: str) -> str:
    return f"{LOGS}/{name}.log"


def main(descriptor: int) -> None:
    """Become the init of a node, as the first line on the control socket says."""
    syscalls.die_with_parent(signal.SIGKILL)
    os.set_inheritable(descriptor, False)
    control = socket.socket(fileno=descriptor)
    config: InitConfig = json.loads(_first_line(control))
    if os.getppid() != config["parent"]:
        return  # the supervisor ended before the kernel knew that we end with it
    try:
        _run(control, config)
    except (OSError, KeyError) as error:
        message = {"event": "failed", "message": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(OSError):
            control.sendall(json.dumps(message).encode() + b"\n")
        sys.exit(1)


def _first_line(control: socket.socket) -> bytes:
    """Read byte by byte what comes before the requests: one line, which may be long, and nothing behind it."""
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = control.recv(65536, socket.MSG_PEEK)
        if not chunk:
            break
        end = chunk.find(b"\n")
        received += control.recv(len(chunk) if end < 0 else end + 1)
    return bytes(received)


def _run(control: socket.socket, config: InitConfig) -> None:
    for folder in config["cgroups"]:
        _write(f"{folder}/cgroup.procs", "0")
    syscalls.unshare(
        syscalls.CLONE_NEWNS
        | syscalls.CLONE_NEWUTS
        | syscalls.CLONE_NEWIPC
        | syscalls.CLONE_NEWNET
        | syscalls.CLONE_NEWCGROUP
        | syscalls.CLONE_NEWPID
    )
    _evacuate(config["cgroups"], config["evacuate"])
    pid = os.fork()
    if pid:
        _stay_outside(control, pid)
        return
    syscalls.die_with_parent(signal.SIGKILL)
    syscalls.set_hostname(config["hostname"])
    noderoot.enter(config["root"])
    _limits()
    _Init(control, config["environment"]).run()


def _stay_outside(control: socket.socket, pid: int) -> None:
    """The process that made the namespaces stays outside the pid namespace: tell its init's pid, and wait for its end."""
    control.sendall(json.dumps({"event": "pid", "pid": pid}).encode() + b"\n")
    control.close()
    os.closerange(3, 256)
    os.waitpid(pid, 0)


def _evacuate(folders: list[str], group: str) -> None:
    """On cgroup v2 a group with processes can't hand controllers down: move to a group below, before the init is born there.

    The cgroup namespace exists already, and its root is the node's group. What came down to that is handed on.
    """
    for folder in folders if group else ():
        os.makedirs(f"{folder}/{group}", exist_ok=True)  # noqa: PTH103
        _write(f"{folder}/{group}/cgroup.procs", "0")
        with open(f"{folder}/cgroup.controllers") as file:  # noqa: PTH123
            controllers = file.read().split()
        _write(f"{folder}/cgroup.subtree_control", " ".join(f"+{controller}" for controller in controllers))


def _limits() -> None:
    os.makedirs(LOGS, exist_ok=True)  # noqa: PTH103
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)

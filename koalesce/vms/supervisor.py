"""The process that virtual machines live and die with: gives them a network of their own, starts them, looks after them, and ends them.

Started detached by `client.up` (`koalesce.local.detached`). It leaves this machine's network for a namespace with a bridge, which every
machine has a link to: nothing of it is seen outside, and the kernel removes all of it with the last process in it.
"""

from __future__ import annotations

import binascii
import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koalesce import process
from koalesce.addresses import FABRIC
from koalesce.errors import KoalesceError, ProvisionError
from koalesce.local import netns, teardown
from koalesce.local.detached import Status
from koalesce.local.forwarder import Forwarder
from koalesce.local.ledger import Entry, Ledger, Process, Thing
from koalesce.local.lifetime import Lifetime
from koalesce.local.netns import NetNamespace
from koalesce.local.request import API_PORT
from koalesce.machines import client as machines
from koalesce.machines.boot import config
from koalesce.vms import emulator, request
from koalesce.vms.disk import Disk
from koalesce.vms.emulator import Vm
from koalesce.vms.programs import Programs
from koalesce.vms.request import VmRequest
from koalesce.vms.seed import seed

PROVIDER = "qemu"
REACHED = "reached.json"  # the process in their network, and the port that leads to the API server
_LOOK = 0.5
_TOLD_EVERY = 30.0
_BOOT = 180.0
_GRACE = 5.0
_LAST_LINES = 12
_HOST_KEY = re.compile(r"koalesce-host-key (?P<kind>[a-z0-9-]+) (?P<text>[A-Za-z0-9+/]+={0,2}) end")

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """The life of a cluster's machines; `host` is this machine's network."""

    request: VmRequest
    programs: Programs
    disk: Disk
    ledger: Ledger
    status: Status
    lifetime: Lifetime
    stopping: threading.Event
    host: NetNamespace
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(self) -> int:
        """Start the machines, keep them until they are to end, end them; returns the exit code."""
        self.status.gone = self.stopping.set  # nobody would ever know of them
        try:
            self._begin()
        except KoalesceError as error:
            self.status.tell(error=error.message, hint=error.hint)
            return 1
        self.status.watch()
        trouble: KoalesceError | None = None
        try:
            self._live()
        except KoalesceError as error:
            trouble = error
        except OSError as error:
            trouble = ProvisionError(f"the virtual machines can't be made: {error}")
        finally:
            left = self._end()
        if found := [error for error in (trouble, left) if error]:
            self.status.tell(error="\n".join(error.message for error in found), hint=found[0].hint)
        return 1 if found else 0

    def _begin(self) -> None:
        cluster, folder = self.request.cluster, self.request.cluster.state_dir
        self.ledger.unsupervised(cluster.name)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ProvisionError(f"{folder} is in use", hint="choose another state_dir, or empty this one")
        self.lifetime.begin(
            Entry(
                name=cluster.name, provider=PROVIDER, run_id=cluster.run_id, kubernetes=cluster.kubernetes,
                nodes=tuple(node.name for node in cluster.nodes), folder=str(folder), kubeconfig=str(folder / "kubeconfig"),
                supervisor=Process.of(os.getpid()), things=(Thing("folder", str(folder)),),
            )
        )  # fmt: skip
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / teardown.MARKER).touch()
        self.lifetime.watch()

    def _live(self) -> None:
        folder = self.request.cluster.state_dir
        with self.host.entered():
            listening = socket.create_server(("127.0.0.1", 0))
        control = self.request.cluster.control.address
        forwarder = Forwarder(listening, NetNamespace.of_process("self"), lambda: [(control, API_PORT)])
        forwarder.start()
        network(self.request.vms)
        key = folder / request.KEY
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "koalesce", "-f", key]).check()
        for vm in self.request.vms:
            self._start(vm, key.with_suffix(".pub").read_text().strip())
        self._await_keys(folder / request.KNOWN_HOSTS)
        (folder / REACHED).write_text(json.dumps({"pid": os.getpid(), "port": forwarder.port}))
        self.status.tell_last(ready=True)
        while not self.stopping.wait(_LOOK):
            self._note_ends()
            self.lifetime.end_in_time()

    def _start(self, vm: Vm, key: str) -> None:
        vm.folder.mkdir(parents=True)
        told = seed(
            config.load(), vm, keys=[key], gateway=str(FABRIC["IPv4"][1]), prefix=FABRIC["IPv4"].prefixlen,
            identity=f"{self.request.cluster.name}-{vm.name}-{os.getpid()}",
        )  # fmt: skip
        (vm.folder / emulator.SEED).write_bytes(told)
        with (vm.folder / "qemu.txt").open("wb") as said:
            self._running[vm.name] = subprocess.Popen(
                emulator.command(self.programs, self.disk, vm, self.request.accelerated),
                env=emulator.environment(self.programs, vm), stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            )  # fmt: skip

    def _await_keys(self, known_hosts: Path) -> None:
        """Wait until each machine's console has told its keys: then its first boot is over, and it can be told from others."""
        began, told = time.monotonic(), 0.0
        waiting = {vm.name: vm for vm in self.request.vms}
        while waiting:
            if self.stopping.wait(_LOOK):
                raise ProvisionError("the virtual machines were ended while they booted")
            for vm in list(waiting.values()):
                self._check(vm)
                if keys := list(host_keys(_said(vm.folder / emulator.CONSOLE))):
                    with known_hosts.open("a", encoding="utf-8") as file:
                        file.writelines(f"{vm.address} {key}\n" for key in keys)
                    del waiting[vm.name]
                    self.status.line(f"{vm.name} has booted ({time.monotonic() - began:.0f} s)")
            seconds = time.monotonic() - began
            if seconds > _BOOT * self.request.slowness:
                names = ", ".join(waiting)
                raise ProvisionError(f"{names} didn't boot in {seconds:.0f} s\n{_tail(next(iter(waiting.values())))}")
            if seconds - told > _TOLD_EVERY:
                told = seconds
                self.status.line(f"waiting for {', '.join(waiting)} to boot ({seconds:.0f} s)")

    def _check(self, vm: Vm) -> None:
        code = self._running[vm.name].poll()
        if code is not None:
            said = _said(vm.folder / "qemu.txt").strip() or f"exit code {code}"
            raise ProvisionError(f"the virtual machine {vm.name} ended while it booted: {said}")

    def _note_ends(self) -> None:
        for name, running in list(self._running.items()):
            if running.poll() is not None:
                _log.warning("the virtual machine %s ended with code %d", name, running.returncode)
                del self._running[name]

    def _end(self) -> KoalesceError | None:
        _log.info("ending")
        with contextlib.suppress(KoalesceError, OSError):  # a connection that stays ends with what it is to
            machines.close(self.request.on_machines(inside=(), reached_at=""))
        for running in self._running.values():
            running.terminate()
        for running in self._running.values():
            try:
                running.wait(_GRACE)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        try:
            if entry := self.ledger.find(self.request.cluster.name):
                teardown.undo(self.ledger, entry)
        except KoalesceError as error:
            _log.error("%s", error)
            return error
        finally:
            self.lifetime.let_go()
        return None


def network(vms: tuple[Vm, ...]) -> None:
    """A bridge and a link for each machine, in the calling thread's namespace."""
    fabric = FABRIC["IPv4"]
    netns.ip(
        "link add br0 type bridge forward_delay 0",
        f"addr add {fabric[1]}/{fabric.prefixlen} dev br0",
        "link set br0 up",
        *(
            line
            for vm in vms
            for line in (
                f"tuntap add dev {vm.tap} mode tap",
                f"link set {vm.tap} master br0",
                f"link set {vm.tap} up",
            )
        ),
    )


def host_keys(console: str) -> Iterator[str]:
    """The keys that a machine's console tells, once each; a line that something else was written into is none."""
    found = {}
    for match in _HOST_KEY.finditer(console):
        with contextlib.suppress(binascii.Error):
            if match["kind"].encode() in binascii.a2b_base64(match["text"], strict_mode=True)[:64]:
                found[match["kind"]] = f"{match['kind']} {match['text']}"
    yield from found.values()


def _said(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _tail(vm: Vm) -> str:
    lines = _said(vm.folder / emulator.CONSOLE).splitlines()[-_LAST_LINES:]
    return "\n".join([f"the console of {vm.name} says last:", *(f"  | {line}" for line in lines)])


def main() -> int:
    """Leave whoever started us, read what to make from standard input, and be its supervisor."""
    if os.fork():
        os._exit(0)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    data: dict[str, Any] = json.load(sys.stdin)
    status = Status(int(sys.argv[1]))
    os.set_inheritable(status.descriptor, False)
    host = NetNamespace.of_process("self")
    netns.new()
    wanted, ledger, stopping = request.from_mapping(data["request"]), Ledger(Path(data["ledger"])), threading.Event()
    supervisor = Supervisor(
        request=wanted, programs=Programs(Path(data["programs"])), disk=Disk.of(Path(data["disk"])), ledger=ledger, status=status,
        lifetime=Lifetime(ledger=ledger, name=wanted.cluster.name, stopping=stopping), stopping=stopping, host=host,
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())

"""Makes and removes clusters of virtual machines: what `koalesce vms up` and `down` do for Terraform."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from koalesce.errors import ProvisionError
from koalesce.local import detached, teardown
from koalesce.local.ledger import Entry, Ledger
from koalesce.local.netns import NetNamespace
from koalesce.machines import client as machines
from koalesce.vms import disk, programs, request
from koalesce.vms.emulator import accelerator
from koalesce.vms.supervisor import REACHED

_MODULE = "koalesce.vms.supervisor"
_COMMANDS = {"ip": "iproute2", "mke2fs": "e2fsprogs", "nsenter": "util-linux", "setpriv": "util-linux", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}  # fmt: skip
SLOW = "the processor doesn't help here (no kvm), so every instruction is translated: it takes some ten times as long"


def up(text: str, *, ledger: Ledger | None = None, progress: Callable[[str], None] = lambda line: None) -> None:
    """Make the cluster that a request (JSON) asks for; KoalesceError if it can't be made. Its machines live on under their supervisor."""
    wanted = request.parse(text)
    ledger = ledger or Ledger()
    name, folder = wanted.cluster.name, wanted.cluster.state_dir
    ledger.unsupervised(name)
    if found := list(lacking()):
        raise ProvisionError("; ".join(found))
    tools, store = machines.tools_of(wanted.cluster, progress)
    emulated = programs.provide(progress)
    made = disk.provide(emulated, progress=progress)
    if wanted.accelerated == "tcg":
        progress(SLOW)
    handed = {
        "request": json.loads(text),
        "programs": str(emulated.root),
        "disk": str(made.disk.parent),
        "ledger": str(ledger.folder),
    }
    detached.start(_MODULE, json.dumps(handed), ledger.log(name), progress)
    reached = json.loads((folder / REACHED).read_text(encoding="utf-8"))
    inside = ("nsenter", f"--net=/proc/{reached['pid']}/ns/net", "--")
    there = NetNamespace.of_process(reached["pid"])
    with there.entered():  # and whatever is started from here
        machines.make(
            wanted.on_machines(inside=inside, reached_at=f"https://127.0.0.1:{reached['port']}"), tools, store,
            ledger=ledger, identity=f"{name}-{reached['pid']}", progress=progress,
        )  # fmt: skip
    there.close()
    ledger.change(name, ready=True)


def down(name: str, *, ledger: Ledger | None = None) -> None:
    """End the machines of a cluster, with all that is on them; without one of this name all is well. TeardownError says what is left."""
    teardown.down(ledger or Ledger(), name)


def remains(entry: Entry) -> list[str]:
    """What is still there of a cluster: processes and our own files."""
    found = [f"process {entry.supervisor.pid}"] if entry.supervisor is not None and entry.supervisor.is_alive else []
    folder = Path(entry.folder) if entry.folder else None
    if folder is None:
        return found
    found += [f"virtual machine {pid}" for pid in _machines_of(folder)]
    return [*found, f"folder {folder}"] if folder.exists() else found


def lacking(which: Callable[[str], str | None] = shutil.which, machine: str = os.uname().machine) -> Iterator[str]:
    """What this machine lacks for virtual machines, as sentences that say what to do."""
    if machine != "x86_64":
        yield f"virtual machines are made on x86_64 only, and this is {machine}"
    if os.geteuid():
        yield "root is needed for the network of virtual machines, and for their disk; run it with sudo"
    if not Path("/dev/net/tun").exists():
        yield "there is no /dev/net/tun; modprobe tun"
    for name, package in _COMMANDS.items():
        if which(name) is None and not (Path("/usr/sbin") / name).exists():
            yield f"there is no {name}; on Debian: apt-get install {package}"


def speed() -> Mapping[str, str]:
    """How virtual machines would run here."""
    found = accelerator()
    return {"accelerator": found, **({} if found == "kvm" else {"note": SLOW})}


def _machines_of(folder: Path) -> Iterator[int]:
    """The processes of virtual machines whose files are in this folder."""
    mark = str(folder / "vms").encode() + b"/"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if mark in words and b"qemu-system" in words:
            yield int(path.parent.name)

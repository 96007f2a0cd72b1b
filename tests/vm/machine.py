"""The virtual machine: started by qemu, with the checkout, the cache and a folder for what comes out shared; ended by its pid."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.vm.disk import Guest

_POLL = 0.5
_GRACE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of this machine it takes."""

    processors: int = 2
    gibibytes: int = 4


def command(guest: Guest, shares: Mapping[str, Path], size: Size, accelerated: str, *, options: str = "") -> list[str]:
    """What starts it. What it writes to its disk is forgotten; of the shared folders it may write to `out`."""
    words = f"root=/dev/vda rw console=ttyS0 panic=-1 quiet systemd.show_status=false {options}".rstrip()
    found = [
        "setpriv", "--pdeathsig", "KILL", "--",  # whatever becomes of whoever started it
        "nice", "-n", "19", *guest.programs.emulator,
        "-accel", accelerated, "-cpu", "host" if accelerated == "kvm" else "max", "-M", "q35",
        "-smp", str(size.processors), "-m", f"{size.gibibytes}G",
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none",
        "-kernel", str(guest.disk.kernel), "-initrd", str(guest.disk.initrd), "-append", words,
        "-drive", f"file={guest.disk.disk},format=raw,if=virtio,snapshot=on,cache=unsafe",
        "-device", "virtio-rng-pci", "-serial", f"file:{shares['out']}/console.txt",
    ]  # fmt: skip
    for tag, folder in shares.items():
        mode = "" if tag == "out" else ",readonly=on"
        found += ["-virtfs", f"local,path={folder},mount_tag={tag},security_model=none,multidevs=remap{mode}"]
    return found


def run(argv: list[str], guest: Guest, out: Path, *, seconds: float, tell: Callable[[str], None]) -> bool:
    """Run it until it switches itself off, telling what it writes to `log.txt`; whether it did in time, else it's ended."""
    own = {**guest.programs.environment, "TMPDIR": str(out)}
    deadline, said = time.monotonic() + seconds, 0
    with (out / "qemu.txt").open("wb") as errors:
        machine = subprocess.Popen(
            argv, env={**os.environ, **own}, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
        )
    try:
        while machine.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL)
            said = _tell(out / "log.txt", said, tell)
        return machine.poll() == 0
    finally:
        _end(machine)
        _tell(out / "log.txt", said, tell)


def _tell(log: Path, begin: int, tell: Callable[[str], None]) -> int:
    """Tell what is new in a file, line by line; returns where to begin the next time."""
    text = log.read_bytes()[begin:] if log.exists() else b""
    lines = text[: text.rfind(b"\n") + 1]
    for line in lines.decode("utf-8", "replace").splitlines():
        tell(line)
    return begin + len(lines)


def _end(machine: subprocess.Popen[bytes]) -> None:
    if machine.poll() is None:
        machine.terminate()
        try:
            machine.wait(_GRACE)
        except subprocess.TimeoutExpired:
            machine.kill()
            machine.wait()

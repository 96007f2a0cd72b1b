"""How a virtual machine is started: qemu's command line, and whether the processor helps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from koalesce.vms.disk import Disk
from koalesce.vms.programs import Programs

CONSOLE = "console.txt"
SEED = "seed.iso"
# Only these run kernels as they are. Others that have a /dev/kvm (PVM, for one) don't: the guest would stand still.
_HARDWARE = ("kvm_intel", "kvm_amd")
SLOWNESS = {"kvm": 1.0, "tcg": 20.0}  # by how much longer things may take there


@dataclass(frozen=True, slots=True, kw_only=True)
class Vm:
    """A virtual machine; `number` tells it from the others of its cluster, `folder` is its own."""

    name: str
    number: int
    address: str
    processors: int
    mebibytes: int
    folder: Path

    @property
    def tap(self) -> str:
        """Its link's other end."""
        return f"vm{self.number}"

    @property
    def mac(self) -> str:
        """The address of its link: a local one, of qemu's prefix."""
        return f"52:54:00:4b:{self.number >> 8:02x}:{self.number & 255:02x}"


def accelerator(root: Path = Path("/")) -> str:
    """`kvm` where the processor helps, else `tcg`: every instruction is translated, which takes some ten times as long."""
    has_hardware = any((root / "sys/module" / name).exists() for name in _HARDWARE)
    return "kvm" if has_hardware and os.access(root / "dev/kvm", os.R_OK | os.W_OK) else "tcg"


def command(programs: Programs, disk: Disk, vm: Vm, accelerated: str) -> list[str]:
    """What starts it. What it writes to its disk is forgotten with the process; a restart of its system keeps it."""
    # A kernel that gets no processor while it counts ticks of its timer takes that for broken, and hardly gets on with another one.
    words = "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=10 no_timer_check quiet systemd.show_status=false ds=nocloud"
    return [
        "setpriv", "--pdeathsig", "KILL", "--",  # whatever becomes of whoever looks after it
        *programs.emulator,
        "-name", vm.name, "-accel", accelerated, "-cpu", "host" if accelerated == "kvm" else "max", "-M", "q35",
        "-smp", str(vm.processors), "-m", f"{vm.mebibytes}M",
        "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-rtc", "base=utc,driftfix=slew",
        "-kernel", str(disk.kernel), "-initrd", str(disk.initrd), "-append", words,
        "-drive", f"file={disk.disk},format=raw,if=virtio,snapshot=on,cache=unsafe,discard=unmap",
        "-drive", f"file={vm.folder / SEED},format=raw,if=virtio,readonly=on",
        "-netdev", f"tap,id=link,ifname={vm.tap},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=link,mac={vm.mac},romfile=",
        "-device", "virtio-rng-pci", "-serial", f"file:{vm.folder / CONSOLE}",
    ]  # fmt: skip


def environment(programs: Programs, vm: Vm) -> dict[str, str]:
    """What it is started with: what it writes to its disk goes to its own folder, into a file that has no name."""
    return {**os.environ, **programs.environment, "TMPDIR": str(vm.folder)}

"""The programs that virtual machines are made and run with: this machine's, or those of Debian's packages, unpacked; nothing is installed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from koalesce.assets import cache_dir
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.shelf import Shelf
from koalesce.toolchain.system import has_command

EMULATOR = "qemu-system-x86_64"
_PROGRAMS = {EMULATOR: "qemu-system-x86", "mmdebstrap": "mmdebstrap"}
_LIBRARIES = f"usr/lib/{os.uname().machine}-linux-gnu"
_FIRMWARE = ("usr/share/qemu", "usr/share/seabios")
_FORMAT = 1  # raise it when the same settings would make something else


@dataclass(frozen=True, slots=True)
class Programs:
    """The folder below which they are: `/` where this machine has them."""

    root: Path

    @property
    def emulator(self) -> list[str]:
        """What begins a command line of the emulator: itself, and where its firmware is."""
        if not self._has_emulator:
            return [EMULATOR]
        places = (str(self.root / folder) for folder in _FIRMWARE)
        return [str(self.root / "usr/bin" / EMULATOR), *(word for place in places for word in ("-L", place))]

    @property
    def environment(self) -> dict[str, str]:
        """What has to be in the environment of the emulator: the libraries that it came with."""
        return {"LD_LIBRARY_PATH": str(self.root / _LIBRARIES)} if self._has_emulator else {}

    @property
    def _has_emulator(self) -> bool:
        return self.root != Path("/") and (self.root / "usr/bin" / EMULATOR).exists()


def shelf() -> Shelf:
    """Where programs and disks are kept."""
    return Shelf(cache_dir() / "vm")


def provide(progress: Callable[[str], None]) -> Programs:
    """The programs; what this machine lacks is fetched. PackagesUnavailable where it can't be."""
    lacking = sorted(package for name, package in _PROGRAMS.items() if not has_command(name))
    if not lacking:
        return Programs(Path("/"))
    debian = Debian(cache_dir() / "debian", progress=progress)

    def fill(folder: Path) -> None:
        debian.unpack(lacking, folder, on_host=True)

    return Programs(shelf().make(f"programs-{key(lacking)}", fill))


def key(value: Sequence[object]) -> str:
    """A short name for what is made of these settings."""
    return hashlib.sha256(json.dumps([_FORMAT, value]).encode()).hexdigest()[:12]

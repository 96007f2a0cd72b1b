"""What every result of this machine depends on: Koalesce itself, what it stands on, the kernel, and programs that nodes share."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import koalesce
from koalesce.assets import asset
from koalesce.errors import KoalesceError
from koalesce.spec.inputs import stat_of
from koalesce.terraform.binary import find_binary
from koalesce.toolchain import Toolchain
from koalesce.toolchain.system import COMMANDS, HOST_PATH, ROUTERS

# What package managers have installed, which is a text of some megabytes at most, or a database.
_INSTALLED = (
    "/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/lib/apk/db/installed",
    "/var/lib/pacman/local",
)  # fmt: skip


def surroundings() -> dict[str, str]:
    """All of it, by name."""
    return {"koalesce": _code(), "python": _python(), "machine": _machine()}


def tools(kubernetes: str) -> str:
    """The tools that clusters of this version of Kubernetes are made of, as they are now; large ones are told by size and time."""
    states = Toolchain().states(kubernetes)
    found = hashlib.sha256()
    for state in states:
        found.update(f"{state.tool} {state.version} {state.source} {state.folder}\n".encode())
        if state.folder is not None and state.tool != "system":
            for path in sorted(path for path in state.folder.rglob("*") if path.is_file()):
                found.update(f"{stat_of(path)}\n".encode())
    return found.hexdigest()


def _code() -> str:
    """Koalesce's own files."""
    package = Path(koalesce.__file__).parent
    folders = [package, *(asset(name) for name in ("terraform", "templates"))]
    found = hashlib.sha256(koalesce.__version__.encode())
    for folder in folders:
        for path in sorted(_files(folder)):
            found.update(f"{path.relative_to(folder)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
        yield from (Path(base, name) for name in names if Path(base, name).is_file())


def _python() -> str:
    """The interpreter, and the versions of the libraries beside it."""
    places = [Path(place) for place in sys.path if place and Path(place).is_dir()]
    libraries = sorted({entry.name for place in places for entry in place.glob("*.dist-info")})
    return hashlib.sha256(repr((sys.version, libraries)).encode()).hexdigest()


def _machine() -> str:
    """The kernel, what it has to give, and the programs that nodes have from this machine."""
    kernel = platform.uname()
    told: list[object] = [kernel.release, kernel.version, kernel.machine, os.cpu_count(), _memory()]
    names = [*COMMANDS, *(Path(path).name for _, paths in ROUTERS.values() for path in paths)]
    found = {name: shutil.which(name, path=HOST_PATH) for name in names}
    told += [(name, stat_of(Path(path))) for name, path in sorted(found.items()) if path is not None]
    places = [*map(Path, _INSTALLED), Path("/lib/modules", kernel.release, "modules.dep"), Path("/etc/os-release")]
    told += [stat_of(path) for path in places if path.exists()]
    told.append(Path("/sys/fs/cgroup/cgroup.controllers").exists())
    try:
        told.append(stat_of(find_binary()))
    except KoalesceError:  # which a cluster that can't be made says
        told.append("")
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _memory() -> str:
    try:
        return Path("/proc/meminfo").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return ""

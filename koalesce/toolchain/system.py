"""The commands that nodes call, from the host or, where it lacks some, from unpacked Debian packages."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from koalesce.errors import ProvisionError
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.machine import release
from koalesce.toolchain.shelf import Shelf

# Each command, and the Debian package that has it.
COMMANDS = {
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "ip6tables": "iptables",
    "ipset": "ipset",
    "iptables": "iptables",
    "iptables-save": "iptables",
    "modprobe": "kmod",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "socat": "socat",
    "sysctl": "procps",
    "tc": "iproute2",
}
# Programs that make a machine a router, each with the files that it takes and the Debian package that has them.
ROUTERS = {
    "bird": ("bird2", ("usr/sbin/bird", "usr/sbin/birdc")),
    "frr": ("frr", ("usr/lib/frr/zebra", "usr/lib/frr/bgpd", "usr/bin/vtysh")),
    "gobgpd": ("gobgpd", ("usr/bin/gobgpd", "usr/bin/gobgp")),
}
# /usr/local isn't part of a node's root, so what lies there doesn't count.
HOST_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_FORMAT = 3  # of the unpacked trees: raise it when the same packages would be unpacked in another way


def missing_packages() -> set[str]:
    """The Debian packages with what the host lacks."""
    return {package for name, package in COMMANDS.items() if not has_command(name)}


def has_command(name: str) -> bool:
    """Whether the host has a command where nodes would find it."""
    return shutil.which(name, path=HOST_PATH) is not None


def has_router(program: str, root: Path = Path("/")) -> bool:
    """Whether the host has all of a program that makes a router."""
    return all((root / path).is_file() for path in ROUTERS[program][1])


def command(name: str, roots: Collection[Path]) -> Path:
    """A command of the host or of unpacked packages; raises ProvisionError if neither has it."""
    places = [str(root / folder) for root in roots for folder in ("usr/sbin", "usr/bin")]
    found = shutil.which(name, path=os.pathsep.join([*places, HOST_PATH]))
    if found is None:
        raise ProvisionError(f"{name} is neither on this machine nor in its Debian package")
    return Path(found)


def environment(roots: Collection[Path]) -> dict[str, str]:
    """The environment in which commands of unpacked packages, and those of the host, find each other and their libraries."""
    places = [str(root / folder) for root in roots for folder in ("usr/sbin", "usr/bin")]
    libraries = [str(path) for root in roots for path in sorted((root / "usr/lib").glob("*-linux-gnu"))]
    own = {"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {}
    if extensions := [path for path in libraries if Path(path, "xtables").is_dir()]:
        own["XTABLES_LIBDIR"] = f"{extensions[0]}/xtables"  # of iptables, which looks where it was installed otherwise
    return {"PATH": os.pathsep.join([*places, HOST_PATH]), **own}


class SystemPackages:
    """Trees of unpacked Debian packages that complete the host's /usr, one for each set of packages."""

    def __init__(self, shelf: Shelf, debian: Debian, progress: Callable[[str], None]) -> None:
        self._shelf = shelf
        self._debian = debian
        self._progress = progress

    def find(self, packages: Collection[str]) -> Path | None:
        """The tree of these packages, if it was made before."""
        return self._shelf.find(_key(packages))

    def provide(self, packages: Collection[str]) -> Path:
        """The tree of these packages; raises PackagesUnavailable where they can't be fetched."""

        def fill(folder: Path) -> None:
            archives = self._debian.unpack(sorted(packages), folder, on_host=True)
            (folder / "packages.txt").write_text("".join(f"{name}\n" for name in archives), encoding="utf-8")

        def waiting() -> None:
            self._progress("waiting for another run that fetches Debian packages")

        return self._shelf.make(_key(packages), fill, waiting=waiting)


def _key(packages: Collection[str]) -> str:
    return f"system/{hashlib.sha256(repr((_FORMAT, release(), sorted(packages))).encode()).hexdigest()[:12]}"

"""Finds or makes everything that a cluster on this machine is made of."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from koalesce.assets import cache_dir
from koalesce.errors import ProvisionError
from koalesce.process import Cancel
from koalesce.toolchain import recipes
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.gobuild import GoBuilder
from koalesce.toolchain.imagebuild import Contents, ImageBuilder, PlacedFile
from koalesce.toolchain.images import ImageStore
from koalesce.toolchain.machine import architecture, release
from koalesce.toolchain.recipes import Recipe
from koalesce.toolchain.shelf import Shelf

# Commands that a node calls, and the Debian package that has each.
_COMMANDS = {
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
    "runc": "runc",
    "socat": "socat",
    "sysctl": "procps",
    "tc": "iproute2",
}
# /usr/local isn't part of a node's root, so what lies there doesn't count.
_HOST_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_FORMAT = 2  # of the unpacked trees: raise it when the same packages would be unpacked in another way
_PROBE_PACKAGES = ("bash", "coreutils", "curl", "dash", "iproute2", "netcat-openbsd")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTools:
    """What a local cluster is made of.

    `kubernetes`, `etcd`, `containerd` and `cni` are folders of binaries, `runc` and `probe` binaries. `system` are roots of
    unpacked Debian packages whose usr/ is laid over the host's /usr in a node; empty if the host has everything. `images`
    tells the reference in the image store by role: `pause`, `coredns`, `probe` (agnhost and small tools).
    """

    kubernetes: Path
    etcd: Path
    containerd: Path
    cni: Path
    system: tuple[Path, ...]
    runc: Path
    images: Mapping[str, str]


class Toolchain:
    """Finds or makes binaries and images; what was made once is kept below `cache`."""

    def __init__(
        self,
        *,
        cache: Path | None = None,
        progress: Callable[[str], None] = lambda _: None,
        cancel: Cancel | None = None,
    ) -> None:
        self.root = cache or cache_dir()
        self.images = ImageStore(self.root / "images")
        self._progress = progress
        self._shelf = Shelf(self.root / "tools", cancel=cancel)
        self._debian = Debian(self.root / "debian", progress=progress, cancel=cancel)
        self._go = GoBuilder(progress=progress, cancel=cancel)
        self._builder = ImageBuilder(self.images, self._shelf, self._debian)

    def local_cluster(self, kubernetes: str, *, dns: str = "coredns") -> LocalTools:
        """Everything that a local cluster of this Kubernetes version needs."""
        self._shelf.sweep()
        folder = self.tool("kubernetes", kubernetes)
        etcd = self.tool("etcd", "3.6.5")
        containerd = self.tool("containerd", "2.4.2")
        cni = self.tool("cni-plugins", "1.9.1")
        system = self._system()
        images = {"pause": self._pause(), "probe": self._probe(kubernetes)}
        if dns == "coredns":
            images["coredns"] = self._coredns("1.14.7")
        return LocalTools(
            kubernetes=folder,
            etcd=etcd,
            containerd=containerd,
            cni=cni,
            system=system,
            runc=_command("runc", system),
            images=images,
        )

    def tool(self, name: str, version: str) -> Path:
        """The folder of a tool's binaries."""
        recipe = recipes.find(name, version, (recipes.SHIPPED,))
        if recipe is None:
            raise ProvisionError(f"{name} {version} can't be built")
        return self._built(recipe)

    def _built(self, recipe: Recipe) -> Path:
        key = f"{recipe.tool}/{recipe.version}/{architecture()}-build-{recipe.digest()[:12]}"
        return self._shelf.make(
            key,
            lambda folder: self._go.build(recipe, folder),
            waiting=lambda: self._progress(f"waiting for another run that makes {recipe.tool} {recipe.version}"),
        )

    def _system(self) -> tuple[Path, ...]:
        missing = sorted({package for name, package in _COMMANDS.items() if not shutil.which(name, path=_HOST_PATH)})
        if not missing:
            return ()
        digest = hashlib.sha256(repr((_FORMAT, release(), missing)).encode()).hexdigest()[:12]

        def fill(folder: Path) -> None:
            archives = self._debian.unpack(missing, folder, on_host=True)
            (folder / "packages.txt").write_text("".join(f"{name}\n" for name in archives), encoding="utf-8")

        return (self._shelf.make(f"system/{digest}", fill),)

    def _pause(self) -> str:
        binary = self.tool("pause", "1") / "pause"
        placed = PlacedFile(to="/pause", mode=0o755, source=binary)
        config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
        return self._builder.build(Contents(ref="koalesce.dev/pause:1", binaries=(placed,), config=config))

    def _coredns(self, version: str) -> str:
        placed = PlacedFile(to="/coredns", mode=0o755, source=self.tool("coredns", version) / "coredns")
        config = {"Entrypoint": ["/coredns"], "WorkingDir": "/", "ExposedPorts": {"53/tcp": {}, "53/udp": {}}}
        ref = f"registry.k8s.io/coredns/coredns:v{version}"
        return self._builder.build(Contents(ref=ref, binaries=(placed,), config=config))

    def _probe(self, kubernetes: str) -> str:
        version = "2.66.1"
        placed = PlacedFile(to="/agnhost", mode=0o755, source=self.tool("agnhost", version) / "agnhost")
        config = {"Entrypoint": ["/agnhost"], "Cmd": ["pause"], "Env": [_PATH]}
        ref = f"registry.k8s.io/e2e-test-images/agnhost:{version}"
        return self._builder.build(Contents(ref=ref, packages=_PROBE_PACKAGES, binaries=(placed,), config=config))


def _command(name: str, system: tuple[Path, ...]) -> Path:
    places = [str(root / folder) for root in system for folder in ("usr/sbin", "usr/bin")]
    found = shutil.which(name, path=os.pathsep.join([*places, _HOST_PATH]))
    if found is None:
        raise ProvisionError(f"{name} is on neither this machine nor in its Debian package")
    return Path(found)

"""Finds or makes everything that a cluster on this machine is made of."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from koalesce.assets import cache_dir
from koalesce.errors import ProvisionError, UsageError
from koalesce.process import Cancel
from koalesce.toolchain import recipes
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.download import Downloader, DownloadFailed
from koalesce.toolchain.finder import Finder, Found
from koalesce.toolchain.generate import Generator
from koalesce.toolchain.gobuild import GoBuilder
from koalesce.toolchain.imagebuild import DEFAULT_PATH, Contents, ImageBuilder, PlacedFile, read_contents
from koalesce.toolchain.images import ImageStore
from koalesce.toolchain.machine import release
from koalesce.toolchain.network import Network
from koalesce.toolchain.releases import Releases, record_pins, version_key
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
    "socat": "socat",
    "sysctl": "procps",
    "tc": "iproute2",
}
# /usr/local isn't part of a node's root, so what lies there doesn't count.
_HOST_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_FORMAT = 3  # of the unpacked trees: raise it when the same packages would be unpacked in another way
_PROBE_PACKAGES = ("bash", "coreutils", "curl", "dash", "iproute2", "netcat-openbsd")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTools:
    """What a local cluster is made of.

    `kubernetes`, `etcd`, `containerd` and `cni` are folders of binaries, `runc` and `probe` binaries. `system` are roots of
    unpacked Debian packages whose usr/ is laid over the host's /usr in a node; empty if the host has everything. `images`
    tells the reference in the image store by role: `pause`, `coredns` (with that `dns`), `probe` (agnhost and small tools).
    """

    kubernetes: Path
    etcd: Path
    containerd: Path
    cni: Path
    system: tuple[Path, ...]
    runc: Path
    probe: Path
    images: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolState:
    """How a tool stands: at hand (`source`, `folder`), or how it would be had (`plan`)."""

    tool: str
    version: str
    source: str
    folder: Path | None
    plan: str


class Toolchain:
    """Finds or makes binaries and images; what was made once is kept below `cache`.

    `paths` are folders of binaries by tool, which win over everything but the environment's `KOALESCE_TOOL_<NAME>`.
    """

    def __init__(
        self,
        *,
        cache: Path | None = None,
        progress: Callable[[str], None] = lambda _: None,
        cancel: Cancel | None = None,
        paths: Mapping[str, Path] | None = None,
    ) -> None:
        self.root = cache or cache_dir()
        self.images = ImageStore(self.root / "images")
        self._progress = progress
        self._cancel = cancel
        self._shelf = Shelf(self.root / "tools", cancel=cancel)
        self._added = Shelf(self.root / "recipes", cancel=cancel)
        self._pins = self.root / "recipes" / "pins.json"
        self._releases = Releases.load(self._pins)
        self._downloader = Downloader(Network(), progress=progress, cancel=cancel)
        self._debian = Debian(self.root / "debian", progress=progress, cancel=cancel)
        self._builder = ImageBuilder(self.images, self._shelf, self._debian)
        self._modules = (recipes.SHIPPED, self._added.root)
        self._finder = Finder(
            self._shelf,
            self._releases,
            self._downloader,
            GoBuilder(progress=progress, cancel=cancel),
            modules=self._modules,
            paths=paths or {},
            progress=progress,
            cancel=cancel,
        )

    def supported(self) -> list[str]:
        """The Kubernetes versions that there are recipes for, newest first."""
        return sorted(recipes.versions("kubernetes", self._modules), key=version_key, reverse=True)

    def resolve_version(self, text: str = "") -> str:
        """The exact version for `1.37`, `1.37.2`, `v1.37.2` or, if empty, the newest; UsageError for an unsupported one."""
        wanted = text.removeprefix("v")
        supported = self.supported()
        for version in supported:
            if wanted in ("", version, version.rpartition(".")[0]):
                return version
        raise UsageError(
            f"Kubernetes {text} isn't supported; supported are {', '.join(supported)}",
            hint=f"koalesce toolchain add {wanted}",
        )

    def local_cluster(self, kubernetes: str, *, dns: str = "coredns") -> LocalTools:
        """Everything that a local cluster of this Kubernetes version needs, found or made."""
        version = self.resolve_version(kubernetes)
        self._shelf.sweep()
        self.images.sweep()
        self._announce(version, dns)
        folder = self.tool("kubernetes", version)
        etcd, containerd, cni = self.tool("etcd"), self.tool("containerd"), self.tool("cni-plugins")
        runc, system = self._runc_and_system()
        images = {"pause": self._pause(), "probe": self._probe(version)}
        if dns == "coredns":
            images["coredns"] = self._coredns()
        return LocalTools(
            kubernetes=folder,
            etcd=etcd,
            containerd=containerd,
            cni=cni,
            system=system,
            runc=runc,
            probe=self.tool("koalesce-probe") / "koalesce-probe",
            images=images,
        )

    def tool(self, name: str, version: str | None = None) -> Path:
        """The folder of a tool's binaries, at its usual version or at another one."""
        return self._provide(name, version).folder

    def path(self, name: str, version: str = "") -> Path:
        """The folder of a tool's binaries by its name, as `koalesce toolchain path` prints it; UsageError for an unknown one."""
        if name not in self._releases.tools:
            raise UsageError(f"there is no tool {name!r}; there are {', '.join(sorted(self._releases.tools))}")
        if name == "kubernetes":
            version = self.resolve_version(version)
        elif name == "agnhost" and not version:
            version = self._agnhost_version(self.resolve_version())
        elif name == "runc" and not version:
            return self._runc_and_system()[0].parent
        return self.tool(name, version or None)

    def build_image(self, definition: Path) -> str:
        """Build the image of a definition file into the store; returns its complete reference."""
        contents = read_contents(definition, lambda recipe: self._finder.build(recipe) / recipe.output)
        return self._builder.build(contents)

    def states(self, kubernetes: str) -> list[ToolState]:
        """How each tool of a Kubernetes version stands; makes nothing."""
        version = self.resolve_version(kubernetes)
        versions = {**self._releases.versions, "kubernetes": version, "agnhost": self._agnhost_version(version)}
        return [*(self._state(tool, versions[tool]) for tool in sorted(versions)), self._system_state()]

    def add(self, text: str) -> str:
        """Support another Kubernetes version: write its recipe, record its publishers' checksums; returns the version."""
        generator = Generator(progress=self._progress, cancel=self._cancel)
        version = generator.resolve(text)
        if version not in self.supported():
            self._added.make(f"kubernetes-{version}", lambda folder: generator.write(version, folder))
        self._record_pins({**self._releases.versions, "kubernetes": version})
        return version

    def _announce(self, kubernetes: str, dns: str) -> None:
        """Say how long the builds will take that a local cluster needs first, if any."""
        versions = {**self._releases.versions, "kubernetes": kubernetes, "agnhost": self._agnhost_version(kubernetes)}
        if dns != "coredns":
            del versions["coredns"]
        missing = [tool for tool, version in versions.items() if not self._finder.find(tool, version)]
        wanted = [self._finder.recipe(tool, versions[tool]) for tool in missing]
        minutes = sum(recipe.minutes for recipe in wanted if recipe)
        if minutes:
            self._progress(
                f"making what isn't there yet: {', '.join(missing)}; up to {minutes} minutes on two cores, once"
            )

    def _record_pins(self, versions: Mapping[str, str]) -> None:
        """Record what publishers say their files' checksums are, as far as they can be reached."""
        for tool, version in sorted(versions.items()):
            pins = {}
            try:
                for url, sums, _ in self._releases.files(tool, version):
                    pins[url] = self._releases.pins.get(url) or self._downloader.checksum(url, sums)
            except DownloadFailed as error:
                self._progress(
                    f"no checksum of {tool} {version} is recorded, so it won't be downloaded: {error.message}"
                )
                continue
            if pins:
                record_pins(self._pins, pins)
                self._progress(f"recorded the checksums of {tool} {version}")

    def _provide(self, name: str, version: str | None = None) -> Found:
        return self._finder.provide(name, version or self._releases.versions[name])

    def _state(self, tool: str, version: str) -> ToolState:
        found = self._finder.find(tool, version)
        if found:
            return ToolState(tool=tool, version=version, source=found.source, folder=found.folder, plan="")
        files = self._releases.files(tool, version)
        pinned = files and all(url in self._releases.pins for url, _, _ in files)
        recipe = self._finder.recipe(tool, version)
        minutes = f"build (about {recipe.minutes} min)" if recipe else ""
        debian = "Debian package, with those of `system`" if self._releases.tools[tool].debian else ""
        plan = ", else ".join(filter(None, ("download" if pinned else "", debian, minutes)))
        return ToolState(tool=tool, version=version, source="", folder=None, plan=plan)

    def _runc_and_system(self) -> tuple[Path, tuple[Path, ...]]:
        """runc, and the unpacked Debian packages with whatever else the host lacks."""
        missing = _missing_packages()
        version = self._releases.versions["runc"]
        found = self._finder.find("runc", version)
        if found is None:
            try:
                found = self._finder.download("runc", version)
            except DownloadFailed:
                missing.add(self._releases.tools["runc"].debian)
        system = (self._unpacked(missing),) if missing else ()
        return (found.folder / "runc" if found else _command("runc", system)), system

    def _unpacked(self, packages: set[str]) -> Path:
        names = sorted(packages)

        def fill(folder: Path) -> None:
            archives = self._debian.unpack(names, folder, on_host=True)
            (folder / "packages.txt").write_text("".join(f"{name}\n" for name in archives), encoding="utf-8")

        def waiting() -> None:
            self._progress("waiting for another run that fetches Debian packages")

        return self._shelf.make(_system_key(packages), fill, waiting=waiting)

    def _system_state(self) -> ToolState:
        """How the commands stand that nodes call, of which some may come from Debian packages."""
        missing = _missing_packages()
        if self._finder.find("runc", self._releases.versions["runc"]) is None:
            missing.add(self._releases.tools["runc"].debian)
        folder = self._shelf.find(_system_key(missing)) if missing else Path("/usr")
        source = "cache (Debian packages)" if missing else "host"
        plan = f"Debian packages {', '.join(sorted(missing))}"
        return ToolState(tool="system", version="", source=source if folder else "", folder=folder, plan=plan)

    def _pause(self) -> str:
        config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
        ref = f"koalesce.dev/pause:{self._releases.versions['pause']}"
        return self._builder.build(Contents(ref=ref, binaries=(self._placed("pause"),), config=config))

    def _coredns(self) -> str:
        config = {"Entrypoint": ["/coredns"], "WorkingDir": "/", "ExposedPorts": {"53/tcp": {}, "53/udp": {}}}
        ref = f"registry.k8s.io/coredns/coredns:v{self._releases.versions['coredns']}"
        return self._builder.build(Contents(ref=ref, binaries=(self._placed("coredns"),), config=config))

    def _probe(self, kubernetes: str) -> str:
        version = self._agnhost_version(kubernetes)
        config = {"Entrypoint": ["/agnhost"], "Cmd": ["pause"], "Env": [f"PATH={DEFAULT_PATH}"]}
        ref = f"registry.k8s.io/e2e-test-images/agnhost:{version}"
        binary = self._placed("agnhost", version)
        return self._builder.build(Contents(ref=ref, packages=_PROBE_PACKAGES, binaries=(binary,), config=config))

    def _placed(self, tool: str, version: str | None = None) -> PlacedFile:
        """A tool's one binary, in the root of an image."""
        source = self.tool(tool, version) / tool
        return PlacedFile(to=f"/{tool}", mode=0o755, source=source, identity=_identity(source))

    def _agnhost_version(self, kubernetes: str) -> str:
        """The version of agnhost that belongs to a Kubernetes version: its recipe lies beside."""
        recipe = self._finder.recipe("kubernetes", kubernetes)
        if recipe is None:
            raise ProvisionError(
                f"there is no recipe of Kubernetes {kubernetes}", hint=f"koalesce toolchain add {kubernetes}"
            )
        return recipes.load(recipe.folder / "agnhost.recipe.toml").version


def _missing_packages() -> set[str]:
    """The Debian packages with what the host lacks of the commands that nodes call."""
    return {package for name, package in _COMMANDS.items() if not shutil.which(name, path=_HOST_PATH)}


def _system_key(packages: set[str]) -> str:
    return f"system/{hashlib.sha256(repr((_FORMAT, release(), sorted(packages))).encode()).hexdigest()[:12]}"


def _identity(path: Path) -> str:
    """Tells a binary's contents without reading all of it."""
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _command(name: str, system: tuple[Path, ...]) -> Path:
    places = [str(root / folder) for root in system for folder in ("usr/sbin", "usr/bin")]
    found = shutil.which(name, path=os.pathsep.join([*places, _HOST_PATH]))
    if found is None:
        raise ProvisionError(f"{name} is neither on this machine nor in its Debian package")
    return Path(found)

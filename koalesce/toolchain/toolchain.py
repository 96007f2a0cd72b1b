"""Finds or makes everything that a cluster on this machine is made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from koalesce.assets import cache_dir
from koalesce.errors import UsageError
from koalesce.process import Cancel
from koalesce.records import dataclass
from koalesce.toolchain import builtin, recipes
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.download import Downloader, DownloadFailed
from koalesce.toolchain.finder import Finder, Found
from koalesce.toolchain.generate import Generator
from koalesce.toolchain.gobuild import GoBuilder
from koalesce.toolchain.imagebuild import ImageBuilder, read_contents
from koalesce.toolchain.images import ImageStore
from koalesce.toolchain.local_tools import LocalTools
from koalesce.toolchain.network import Network
from koalesce.toolchain.recipes import Recipe
from koalesce.toolchain.releases import Releases, record_pins
from koalesce.toolchain.shelf import Shelf
from koalesce.toolchain.supported import resolve_version, supported
from koalesce.toolchain.system import ROUTERS, SystemPackages, command, has_command, has_router, missing_packages

# What not every cluster runs: the images of these tools.
CHOOSABLE = {"coredns": builtin.coredns, "metrics-server": builtin.metrics_server}


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
        debian = Debian(self.root / "debian", progress=progress, cancel=cancel)
        self._system = SystemPackages(self._shelf, debian, progress)
        self._builder = ImageBuilder(self.images, self._shelf, debian)
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
        return supported(self.root)

    def resolve_version(self, text: str = "") -> str:
        """The exact version for `1.37`, `1.37.2`, `v1.37.2` or, if empty, the newest; UsageError for an unsupported one."""
        return resolve_version(text, self.root)

    def local_cluster(
        self,
        kubernetes: str,
        *,
        dns: str = "coredns",
        static: Sequence[str] = (),
        addons: Collection[str] = (),
        routers: Collection[str] = (),
        resolver: bool = False,
    ) -> LocalTools:
        """Everything that a local cluster of this Kubernetes version needs, found or made.

        `static` components have images, fixtures are made `routers` by these programs, and with `resolver` resolvers.
        """
        version = self.resolve_version(kubernetes)
        self._shelf.sweep()
        self.images.sweep()
        wanted = _chosen(dns, addons)
        self._announce(version, wanted)
        folder = self.tool("kubernetes", version)
        etcd, containerd, cni = self.tool("etcd"), self.tool("containerd"), self.tool("cni-plugins")
        runc, system = self._runc_and_system()
        return LocalTools(
            kubernetes=folder,
            etcd=etcd,
            containerd=containerd,
            cni=cni,
            system=system,
            runc=runc,
            probe=self.tool("koalesce-probe") / "koalesce-probe",
            images={**self._images(wanted), **self._static_images(version, static)},
            routers={program: str(self._router(program)) for program in sorted(routers)},
            resolver=self.tool("coredns") / "coredns" if resolver else None,
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
        elif name == "runc" and not version:
            return self._runc_and_system()[0].parent
        return self.tool(name, version or None)

    def build(self, recipe: Recipe) -> Path:
        """The folder of the binaries that a recipe of one's own makes, built if it isn't kept."""
        return self._finder.build(recipe)

    def build_image(self, definition: Path, *, root: Path, reads: Callable[[Path], object] = lambda _path: None) -> str:
        """Build the image of a definition file, from files below `root`, into the store; returns its complete reference.

        `reads` is told each file and folder that it is made of.
        """
        contents = read_contents(
            definition, lambda recipe: self._finder.build(recipe) / recipe.output, root=root, reads=reads
        )
        return self._builder.build(contents)

    def states(self, kubernetes: str) -> list[ToolState]:
        """How each tool of a Kubernetes version stands; makes nothing."""
        version = self.resolve_version(kubernetes)
        versions = {**self._releases.versions, "kubernetes": version}
        system = self._system_state()
        found = [self._state(tool, versions[tool]) for tool in sorted(versions)]
        return [*(self._with_system(state, system) for state in found), system]

    def add(self, text: str) -> str:
        """Support another Kubernetes version: write its recipe, record its publishers' checksums; returns the version."""
        generator = Generator(progress=self._progress, cancel=self._cancel)
        version = text.removeprefix("v")
        if version not in self.supported():
            version = generator.resolve(text)
        if version not in self.supported():
            self._added.make(f"kubernetes-{version}", lambda folder: generator.write(version, folder))
        self._record_pins({**self._releases.versions, "kubernetes": version})
        return version

    def _announce(self, kubernetes: str, chosen: Collection[str]) -> None:
        """Say how long the builds will take that a local cluster needs first, if any."""
        versions = {**self._releases.versions, "kubernetes": kubernetes}
        needed = {tool: version for tool, version in versions.items() if tool not in CHOOSABLE or tool in chosen}
        missing = [tool for tool, version in needed.items() if not self._finder.find(tool, version)]
        if any(self._releases.tools[tool].debian for tool in missing) and self._system_state().folder:
            missing = [tool for tool in missing if not self._releases.tools[tool].debian]
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

    def _with_system(self, state: ToolState, system: ToolState) -> ToolState:
        """The state of a tool that may come with the Debian packages of `system`."""
        if state.folder or not (self._releases.tools[state.tool].debian and system.folder):
            return state
        return replace(state, source=system.source, folder=system.folder, plan="")

    def _runc_and_system(self) -> tuple[Path, tuple[Path, ...]]:
        """runc, and the unpacked Debian packages with whatever else the host lacks."""
        missing = missing_packages()
        version = self._releases.versions["runc"]
        found = self._finder.find("runc", version)
        if found is None:
            try:
                found = self._finder.download("runc", version)
            except DownloadFailed:
                missing.add(self._releases.tools["runc"].debian)
        system = (self._system.provide(missing),) if missing else ()
        return (found.folder / "runc" if found else command("runc", system)), system

    def _router(self, program: str) -> Path:
        """The root that has a router's program: the host's, or that of its unpacked Debian package."""
        return Path("/") if has_router(program) else self._system.provide({ROUTERS[program][0]})

    def with_command(self, name: str) -> Path:
        """The root that has a command which its Debian package is named after: the host's, or that of the package, unpacked."""
        return Path("/") if has_command(name) else self._system.provide({name})

    def _system_state(self) -> ToolState:
        """How the commands stand that nodes call, of which some may come from Debian packages."""
        missing = missing_packages()
        if self._finder.find("runc", self._releases.versions["runc"]) is None:
            missing.add(self._releases.tools["runc"].debian)
        folder = self._system.find(missing) if missing else Path("/usr")
        source = "cache (Debian packages)" if missing else "host"
        plan = f"Debian packages {', '.join(sorted(missing))}"
        return ToolState(tool="system", version="", source=source if folder else "", folder=folder, plan=plan)

    def _images(self, chosen: Collection[str]) -> dict[str, str]:
        """The references of the cluster's own images by role, all of them in the store."""
        agnhost = self._releases.versions["agnhost"]
        contents = {
            "pause": builtin.pause(self.tool("pause") / "pause", self._releases.versions["pause"]),
            "probe": builtin.probe(self.tool("agnhost", agnhost) / "agnhost", agnhost),
        }
        contents |= {
            name: make(self.tool(name) / name, self._releases.versions[name])
            for name, make in CHOOSABLE.items()
            if name in chosen
        }
        return {role: self._builder.build(one) for role, one in contents.items()}

    def _static_images(self, kubernetes: str, components: Sequence[str]) -> dict[str, str]:
        """The references of the images of components of the control plane, by component."""
        found = {}
        for name in components:
            if name == "etcd":
                contents = builtin.etcd(self.tool("etcd"), self._releases.versions["etcd"])
            else:
                contents = builtin.component(self.tool("kubernetes", kubernetes) / name, kubernetes)
            found[name] = self._builder.build(contents)
        return found


def _chosen(dns: str, addons: Collection[str]) -> frozenset[str]:
    """Which of the choosable tools a cluster runs."""
    return frozenset({dns, *addons} & CHOOSABLE.keys())

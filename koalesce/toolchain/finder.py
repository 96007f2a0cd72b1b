"""Finds a tool by the first way that works: explicit path, PATH, cache, download, Debian package, build."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from koalesce import process
from koalesce.errors import ProvisionError, UsageError
from koalesce.process import Cancel
from koalesce.records import dataclass
from koalesce.toolchain import recipes
from koalesce.toolchain.download import Downloader, DownloadFailed, unpack
from koalesce.toolchain.gobuild import GoBuilder
from koalesce.toolchain.machine import architecture
from koalesce.toolchain.recipes import Recipe
from koalesce.toolchain.releases import Release, Releases, version_in
from koalesce.toolchain.shelf import Shelf

_ASK_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A tool that is there: the folder of its binaries, and how it was found (`path`, `download`, `build`, …)."""

    tool: str
    version: str
    folder: Path
    source: str


class Finder:
    """Finds or makes tools. `paths` are explicit ones by tool, beside those of the environment (`KOALESCE_TOOL_ETCD=…`)."""

    def __init__(
        self,
        shelf: Shelf,
        releases: Releases,
        downloader: Downloader,
        builder: GoBuilder,
        *,
        modules: tuple[Path, ...],
        paths: Mapping[str, Path],
        progress: Callable[[str], None] = lambda _: None,
        cancel: Cancel | None = None,
    ) -> None:
        self._shelf = shelf
        self._releases = releases
        self._downloader = downloader
        self._builder = builder
        self._modules = modules
        self._paths = paths
        self._progress = progress
        self._cancel = cancel

    def find(self, tool: str, version: str) -> Found | None:
        """A tool that is at hand: explicit, on PATH, or in the cache. None: it would have to be downloaded or built."""
        release = self._releases.tools[tool]
        return (
            self._explicit(tool, version, release) or self._on_path(tool, version, release) or self._kept(tool, version)
        )

    def provide(self, tool: str, version: str) -> Found:
        """A tool, made if need be; raises ProvisionError that says what was tried."""
        if found := self.find(tool, version):
            return found
        try:
            return self.download(tool, version)
        except DownloadFailed as error:
            recipe = self.recipe(tool, version)
            if recipe is None:
                raise ProvisionError(
                    f"{tool} {version} can't be had: {error.message}", hint=self._ways(tool)
                ) from error
            if self._releases.tools[tool].downloads:
                self._progress(f"{tool} {version} isn't downloaded: {error.message}")
            return Found(tool=tool, version=version, folder=self.build(recipe), source="build")

    def recipe(self, tool: str, version: str) -> Recipe | None:
        """The recipe that a tool would be built by."""
        return recipes.find(tool, version, self._modules)

    def explicit_path(self, tool: str) -> Path | None:
        """The path that the user gave for a tool."""
        if given := os.environ.get(_variable(tool)):
            return Path(given)
        return self._paths.get(tool)

    def _explicit(self, tool: str, version: str, release: Release) -> Found | None:
        given = self.explicit_path(tool)
        if given is None:
            return None
        folder = given if given.is_dir() else given.parent
        missing = [name for name in release.binaries if not os.access(folder / name, os.X_OK)]
        if missing or (given.is_file() and given.name not in release.binaries):
            raise UsageError(
                f"{given}, given for {tool}, has no {', '.join(missing or release.binaries)}",
                hint=f"set {_variable(tool)} to a folder with {', '.join(release.binaries)}",
            )
        return Found(tool=tool, version=version, folder=folder.resolve(), source="explicit")

    def _on_path(self, tool: str, version: str, release: Release) -> Found | None:
        """The binaries on PATH where all of them are there and fit, copied to a folder of their own."""
        if release.asks is None:
            return None
        search = os.pathsep.join([os.environ.get("PATH", ""), *release.places])
        found: dict[str, Path] = {}
        for name in release.binaries:
            path = shutil.which(name, path=search)
            if path is None:
                return None
            found[name] = Path(path).resolve()
        states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in found.values()]
        state = hashlib.sha256(repr(states).encode()).hexdigest()[:12]
        key = f"{tool}/{version}/{architecture()}-path-{state}"
        if not self._shelf.find(key):
            real = self._version(found[release.binaries[0]], release.asks)
            if real is None or not release.fits(real, version):
                return None

        def copy(folder: Path) -> None:
            for name, path in found.items():
                shutil.copy2(path, folder / name)

        return Found(tool=tool, version=version, folder=self._shelf.make(key, copy), source="PATH")

    def _version(self, path: Path, asks: tuple[str, ...]) -> str | None:
        """The version that a binary says it has, on either stream, whatever code it ends with."""
        try:
            result = process.run([path, *asks], timeout=_ASK_TIMEOUT, cancel=self._cancel, env={"PATH": os.defpath})
        except (process.CommandMissing, process.CommandTimeout):
            return None
        return version_in(result.out) or version_in(result.err)

    def _kept(self, tool: str, version: str) -> Found | None:
        if folder := self._shelf.find(self._download_key(tool, version)):
            return Found(tool=tool, version=version, folder=folder, source="cache (download)")
        recipe = self.recipe(tool, version)
        if recipe and (folder := self._shelf.find(build_key(recipe))):
            return Found(tool=tool, version=version, folder=folder, source="cache (build)")
        return None

    def download(self, tool: str, version: str) -> Found:
        """A tool from its publisher; raises DownloadFailed, also where no checksum is pinned."""
        files = self._releases.files(tool, version)
        if not files:
            raise DownloadFailed(f"nobody publishes {tool} as a file")
        unpinned = [url for url, _, _ in files if url not in self._releases.pins]
        if unpinned:
            raise DownloadFailed("no checksum of its published files is pinned")
        self._progress(f"downloading {tool} {version}")

        def fill(folder: Path) -> None:
            for url, _, download in files:
                target = folder / url.rpartition("/")[2]
                self._downloader.fetch(url, self._releases.pins[url], target)
                if download.folder is not None:
                    release = self._releases.tools[tool]
                    inner = download.folder.format(version=version, arch=architecture())
                    unpack(target, inner, release.binaries, folder)
                    target.unlink()
                    continue
                binaries = self._releases.tools[tool].binaries
                final = folder / (target.name if target.name in binaries else binaries[0])
                target.rename(final)
                final.chmod(0o755)

        folder = self._shelf.make(self._download_key(tool, version), fill, waiting=self._waiting(tool, version))
        return Found(tool=tool, version=version, folder=folder, source="download")

    def build(self, recipe: Recipe) -> Path:
        """The folder of a recipe's binaries, built if it isn't kept."""
        waiting = self._waiting(recipe.tool, recipe.version)
        return self._shelf.make(build_key(recipe), lambda folder: self._builder.build(recipe, folder), waiting=waiting)

    def _waiting(self, tool: str, version: str) -> Callable[[], None]:
        return lambda: self._progress(f"waiting for another run that makes {tool} {version}")

    def _download_key(self, tool: str, version: str) -> str:
        pins = [self._releases.pins.get(url, "") for url, _, _ in self._releases.files(tool, version)]
        digest = hashlib.sha256(repr(pins).encode()).hexdigest()[:12]
        return f"{tool}/{version}/{architecture()}-download-{digest}"

    def _ways(self, tool: str) -> str:
        names = ", ".join(self._releases.tools[tool].binaries)
        return f"put {names} into a folder and set {_variable(tool)} to it, or see `koalesce toolchain list`"


def build_key(recipe: Recipe) -> str:
    """Where a recipe's binaries lie on the shelf."""
    return f"{recipe.tool}/{recipe.version or 'own'}/{architecture()}-build-{recipe.digest()[:12]}"


def _variable(tool: str) -> str:
    return f"KOALESCE_TOOL_{tool.upper().replace('-', '_')}"

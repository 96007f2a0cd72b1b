"""Puts images together without Docker: binaries, unpacked Debian packages, files and links become layers."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from koalesce.errors import ProvisionError, UsageError
from koalesce.records import dataclass
from koalesce.toolchain.blobs import Descriptor
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.images import OCI_LAYER, ImageStore
from koalesce.toolchain.layers import Entry, of_tree, with_folders, write_layer
from koalesce.toolchain.machine import release
from koalesce.toolchain.recipes import Recipe
from koalesce.toolchain.roottree import add_root_links
from koalesce.toolchain.shelf import Shelf

if TYPE_CHECKING:
    from koalesce.toolchain.definition import File, GoProgram, ImageDefinition

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FORMAT = "2"  # part of every digest: raise it when the same contents would make another image


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedFile:
    """A file of an image: its place, its permissions, and either a file on this machine or its contents."""

    to: str
    mode: int = 0o644
    source: Path | None = None
    content: bytes = b""
    identity: str = ""  # tells the source's contents without reading it, where its path does

    def entry(self) -> Entry:
        """As it stands in a layer."""
        kind = tarfile.REGTYPE
        return Entry(name=inside(self.to), kind=kind, mode=self.mode, source=self.source, content=self.content)

    def fingerprint(self) -> bytes:
        """Changes with the contents."""
        if self.source is None:
            return hashlib.sha256(self.content).digest()
        return self.identity.encode() or _file_digest(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What an image is made of; `packages` come with their dependencies and need no base image."""

    ref: str
    packages: tuple[str, ...] = ()
    binaries: tuple[PlacedFile, ...] = ()
    files: tuple[PlacedFile, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        """Changes with whatever changes the image, but for newer versions of Debian packages."""
        seen = hashlib.sha256(_FORMAT.encode())
        for file in (*self.binaries, *self.files):
            seen.update(repr((file.to, file.mode)).encode() + file.fingerprint())
        facts = [sorted(self.packages), release() if self.packages else "", dict(self.links), dict(self.config)]
        seen.update(json.dumps(facts, sort_keys=True).encode())
        return f"sha256:{seen.hexdigest()}"


def read_contents(
    path: Path, build: Callable[[Recipe], Path], *, root: Path, reads: Callable[[Path], object] = lambda _path: None
) -> Contents:
    """What the image of a definition file is made of; `build` builds a Go program and returns its binary.

    `reads` is told each file and folder that it names. UsageError for files that aren't below `root`, with links followed.
    """
    from koalesce.toolchain.definition import load

    definition = load(path)
    place = _Place(path.resolve().parent, root.resolve(), reads)
    binaries = []
    for program in definition.go:
        binary = build(_recipe(program, place))
        binaries.append(PlacedFile(to=program.to, mode=program.mode, source=binary, identity=str(binary)))
    files = [placed for file in definition.files for placed in _files_of(file, place)]
    return Contents(
        ref=definition.ref,
        packages=definition.packages,
        binaries=tuple(binaries),
        files=tuple(files),
        links=definition.links,
        config=_config(definition),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a definition lies, and the project that all its files are in."""

    folder: Path
    root: Path
    reads: Callable[[Path], object]

    def find(self, written: str) -> Path:
        self.reads(self.folder / written)
        return self.confined(self.folder / written)

    def confined(self, path: Path) -> Path:
        found = path.resolve()
        if not found.is_relative_to(self.root):
            raise UsageError(f"{path} leads outside of the project's folder {self.root}, so no image takes it in")
        return found


def _recipe(program: GoProgram, place: _Place) -> Recipe:
    name = PurePosixPath(program.to).name
    module = place.find(program.folder)
    if not (module / "go.mod").is_file():
        raise ProvisionError(f"{module} has no go.mod, from which {name} would be built")
    static = '-extldflags "-static"' if program.cgo else ""
    tags = (*program.tags, "netgo", "osusergo") if program.cgo else program.tags
    return Recipe(
        tool=name,
        version="",
        folder=module,
        packages=(program.package,),
        binaries=(name,),
        output=name,
        tags=tuple(dict.fromkeys(tags)),
        ldflags=" ".join(filter(None, (static, program.ldflags))),
        cgo=program.cgo,
        minutes=3,
    )


def _files_of(file: File, place: _Place) -> list[PlacedFile]:
    if file.content is not None:
        return [PlacedFile(to=file.to, mode=file.mode or 0o644, content=file.content.encode())]
    source = place.find(str(file.source))
    if source.is_dir():
        found = sorted(path for path in source.rglob("*") if path.is_file())
        return [
            _copied(place.confined(path), f"{file.to}/{path.relative_to(source).as_posix()}", file.mode)
            for path in found
        ]
    if not source.is_file():
        raise ProvisionError(f"{source} doesn't exist; an image definition adds it as {file.to}")
    return [_copied(source, file.to, file.mode)]


def _copied(source: Path, to: str, mode: int | None) -> PlacedFile:
    executable = 0o755 if source.stat().st_mode & 0o100 else 0o644
    return PlacedFile(to=to, mode=mode or executable, source=source)


def _config(definition: ImageDefinition) -> dict[str, Any]:
    """The `config` object of the OCI image configuration; what isn't given is left out."""
    environment = {"PATH": DEFAULT_PATH, **definition.env}
    config = {
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "Entrypoint": list(definition.entrypoint),
        "Cmd": list(definition.command),
        "WorkingDir": definition.workdir,
        "User": definition.user,
        "Labels": definition.labels,
    }
    return {key: value for key, value in config.items() if value}


class ImageBuilder:
    """Builds images into a store; layers of Debian packages are kept and shared between images."""

    def __init__(self, store: ImageStore, shelf: Shelf, debian: Debian) -> None:
        self._store = store
        self._shelf = shelf
        self._debian = debian

    def build(self, contents: Contents) -> str:
        """Build the image unless the store has it, made of the same; returns its complete reference."""
        source = f"built {contents.digest()}"
        found = self._store.find(contents.ref)
        if found and found.source == source and self._store.has(found.ref):
            return found.ref
        layers = [self._packages(contents.packages)] if contents.packages else []
        for group in (contents.binaries, contents.files):
            if group:
                layers.append(self._files(group, {}))
        if contents.links:
            layers.append(self._files((), contents.links))
        return self._store.add_image(contents.ref, layers, contents.config, source=source)

    def _packages(self, packages: tuple[str, ...]) -> Descriptor:
        names = sorted(packages)
        digest = hashlib.sha256(json.dumps([_FORMAT, release(), names]).encode()).hexdigest()[:16]
        key = f"rootfs/{digest}"

        def fill(folder: Path) -> None:
            root = folder / "root"
            root.mkdir()
            archives = self._debian.unpack(names, root, on_host=False)
            add_root_links(root)
            (folder / "packages.txt").write_text("".join(f"{name}\n" for name in archives), encoding="utf-8")

        return self._layer(of_tree(self._shelf.make(key, fill) / "root"))

    def _files(self, files: Iterable[PlacedFile], links: Mapping[str, str]) -> Descriptor:
        """A layer of files and links."""
        entries = [file.entry() for file in files]
        for link, target in links.items():
            entries.append(Entry(name=inside(link), kind=tarfile.SYMTYPE, mode=0o777, target=target))
        return self._layer(with_folders(entries))

    def _layer(self, entries: Iterable[Entry]) -> Descriptor:
        with self._store.writing() as writer:
            write_layer(entries, writer)
            return writer.commit(OCI_LAYER)


def inside(place: str) -> str:
    """A place in an image as its layer has it; raises ProvisionError for one that leaves the image."""
    path = PurePosixPath(place.lstrip("/"))
    if not path.parts or ".." in path.parts:
        raise ProvisionError(f"{place!r} is no place in an image; write an absolute path without `..`")
    return str(path)


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

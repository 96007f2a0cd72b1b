"""Puts images together without Docker: binaries, unpacked Debian packages, files and links become layers."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koalesce.errors import ProvisionError
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.images import OCI_LAYER, Descriptor, ImageStore
from koalesce.toolchain.layers import write_layer
from koalesce.toolchain.machine import release
from koalesce.toolchain.roottree import add_root_links
from koalesce.toolchain.shelf import Shelf

_FORMAT = "1"  # part of every digest: raise it when the same contents would make another image


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedFile:
    """A file of an image: its place, its permissions, and either a file on this machine or its contents."""

    to: str
    mode: int = 0o644
    source: Path | None = None
    content: bytes = b""


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
            content = file.content if file.source is None else _file_digest(file.source)
            seen.update(repr((file.to, file.mode)).encode() + content)
        facts = [sorted(self.packages), release() if self.packages else "", dict(self.links), dict(self.config)]
        seen.update(json.dumps(facts, sort_keys=True).encode())
        return f"sha256:{seen.hexdigest()}"


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

        return self._layer(self._shelf.make(key, fill) / "root")

    def _files(self, files: tuple[PlacedFile, ...], links: Mapping[str, str]) -> Descriptor:
        with tempfile.TemporaryDirectory(prefix=".layer-", dir=self._store_folder()) as temporary:
            root = Path(temporary)
            root.chmod(0o755)
            for file in files:
                _place(file, inside(root, file.to))
            for link, target in links.items():
                path = inside(root, link)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(target)
            return self._layer(root)

    def _layer(self, root: Path) -> Descriptor:
        with self._store.writing() as writer:
            write_layer(root, writer)
            return writer.commit(OCI_LAYER)

    def _store_folder(self) -> Path:
        self._store.root.mkdir(parents=True, exist_ok=True)
        return self._store.root


def inside(root: Path, place: str) -> Path:
    """A place in an image, below the folder that stands for its root; raises ProvisionError for one that leaves it."""
    path = Path(place.lstrip("/"))
    if not path.parts or ".." in path.parts:
        raise ProvisionError(f"{place!r} is no place in an image; write an absolute path without `..`")
    return root / path


def _place(file: PlacedFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.source is not None:
        shutil.copyfile(file.source, target)
    else:
        target.write_bytes(file.content)
    target.chmod(file.mode)


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

"""Recipes: which Go packages of which pinned module make a tool, with which flags."""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path

from koalesce.errors import ProvisionError
from koalesce.patterns import pattern
from koalesce.records import dataclass

SHIPPED = Path(__file__).resolve().parent / "modules"
_SUFFIX = ".recipe.toml"
_IGNORED = (_SUFFIX, "_test.go")
_LOCAL = pattern(r"=>\s*(\.{1,2}/\S*|/\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a tool is built: `folder` holds go.mod and go.sum (the pin) and perhaps a main.go.

    `packages` are import paths, "." or "tool" (all that go.mod names by `tool`); a single one is written to `output`, several by
    their own names. `links` are further names of `output`. `variables` are stamped by the linker (`-X`). `minutes` is what
    a build takes on two cores with empty caches. `binaries` must be there in the end. With `test`, it is the one package's tests
    that are built, as `go test -c` does.
    """

    tool: str
    version: str
    folder: Path
    packages: tuple[str, ...]
    binaries: tuple[str, ...]
    output: str = ""
    links: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    ldflags: str = ""
    cgo: bool = False
    test: bool = False
    minutes: int = 1

    def digest(self) -> str:
        """Changes with whatever changes the built files: the pin, the source, the flags."""
        kind = ("test",) if self.test else ()
        flags = (self.packages, self.output, self.links, self.variables, self.tags, self.ldflags, self.cgo, *kind)
        seen = hashlib.sha256(repr(flags).encode())
        for folder in (self.folder, *_replacements(self.folder)):
            for path in sources(folder):
                seen.update(f"\0{path.relative_to(folder)}\0".encode() + path.read_bytes())
        return seen.hexdigest()


def sources(folder: Path) -> list[Path]:
    """What of a module's folder goes into a build: all but hidden files, tests and the recipes."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = (name for name in sorted(files) if not name.startswith(".") and not name.endswith(_IGNORED))
        found += [path for path in (Path(parent, name) for name in shown) if path.is_file()]
    return found


def _replacements(folder: Path) -> list[Path]:
    """The folders on this machine that go.mod takes modules from (`replace x => ../x`)."""
    text = (folder / "go.mod").read_text(encoding="utf-8")
    return [(folder / found).resolve() for found in _LOCAL.findall(text)]


def load(path: Path) -> Recipe:
    """Read one recipe file; the module is the folder that it lies in."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
        return Recipe(folder=path.parent, **{**data, **lists})
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise ProvisionError(
            f"{path}: not a recipe: {error}", hint="make it again with: koalesce toolchain add"
        ) from error


def find(tool: str, version: str, folders: tuple[Path, ...]) -> Recipe | None:
    """The recipe of a tool at a version, from the first folder of modules that has one."""
    for folder in folders:
        for path in sorted(folder.glob(f"*/{tool}{_SUFFIX}")):
            recipe = load(path)
            if recipe.version == version:
                return recipe
    return None


def versions(tool: str, folders: tuple[Path, ...]) -> set[str]:
    """The versions of a tool that there are recipes for."""
    return {load(path).version for folder in folders for path in folder.glob(f"*/{tool}{_SUFFIX}")}

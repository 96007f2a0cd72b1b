"""Which files are specs: those named, and those found below folders."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from koalesce.errors import UsageError
from koalesce.patterns import pattern
from koalesce.spec.files import similar_file
from koalesce.spec.project import Project

SUFFIXES = (".yaml", ".yml")
_HEAD = 8192
_API = pattern(r"^apiVersion:[ \t]*[\"']?koalesce\.dev/", re.MULTILINE)
_KIND = pattern(r"^kind:[ \t]*[\"']?Spec\b", re.MULTILINE)
_SEPARATOR = pattern(r"^---.*$", re.MULTILINE)
_CONTENT = pattern(r"^[^#\s]", re.MULTILINE)


def discover(patterns: Sequence[str]) -> list[Path]:
    """The specs of files, globs, folders (with what is below them) and `./...`; without patterns those below the working folder.

    A file that is named is taken for a spec whatever it holds; of the files of a glob (`*`, `?`, `[…]`, `**` for folders) only those that are specs.
    Below a folder, what the project excludes is left out. Each spec comes once, in the order of the patterns. UsageError for a
    path that isn't there and a folder that can't be read; a folder without specs gives none.
    """
    found: dict[Path, Path] = {}
    for each in patterns or ["./..."]:
        for path in _matches(each):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _matches(pattern: str) -> Iterator[Path]:
    folder = _folder(pattern)
    path = Path(folder if folder is not None else pattern)
    if path.is_dir():
        yield from sorted(_below(path))
    elif path.exists() and folder is None:
        yield path
    elif glob.has_magic(pattern) and folder is None:
        yield from _of_glob(pattern)
    else:
        raise UsageError(f"{pattern}: no such file or folder", hint=similar_file(path))


def _of_glob(pattern: str) -> Iterator[Path]:
    paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 - absolute ones, too
    found = [
        spec for path in paths for spec in (sorted(_below(path)) if path.is_dir() else [path] if is_spec(path) else [])
    ]
    if not found:
        raise UsageError(
            f"{pattern}: " + ("nothing that it matches is a spec" if paths else "matches nothing"),
            hint="a spec is a YAML file of apiVersion koalesce.dev/v1alpha1 and kind Spec" if paths else None,
        )
    yield from found


def _folder(pattern: str) -> str | None:
    """The folder of `folder/...`, or None if it isn't such a pattern."""
    if pattern == "...":
        return "."
    return pattern.removesuffix("...").rstrip("/") or "/" if pattern.endswith("/...") else None


def _below(folder: Path) -> Iterator[Path]:
    project = Project.find(folder)
    for base, names, files in os.walk(folder, onerror=_refuse):
        names[:] = [name for name in names if _is_looked_into(name) and not project.excludes(Path(base, name))]
        for name in files:
            path = Path(base, name)
            if name.endswith(SUFFIXES) and _is_looked_into(name) and not project.excludes(path) and is_spec(path):
                yield path


def _is_looked_into(name: str) -> bool:
    return not name.startswith((".", "_")) and name != "testdata"


def _refuse(error: OSError) -> NoReturn:
    raise UsageError(f"{error.filename}: can't be read: {error.strerror}")


def is_spec(path: Path) -> bool:
    """Whether the first document of a file says that it's a spec."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    if "koalesce.dev/" not in head:
        return False
    documents = (part for part in _SEPARATOR.split(head) if _CONTENT.search(part))
    first = next(documents, "")
    return bool(_API.search(first) and _KIND.search(first))

"""What was collected when something failed, from its folder into the report, as far as that stays a handy file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from koalesce.reporters.html.markup import Markup, joined, tag
from koalesce.reporters.html.words import folded
from koalesce.reporters.text import shorten

_FILE = 24_000  # characters of a file
_FOLDER = 160_000  # of all files of a failure
_ALL = 6_000_000  # of all that a report takes in
_README = "README.md"  # it says what the report says, and is what makes a folder one of evidence
# What is looked at first, by what its path says; the rest follows.
_FIRST = ("/events.txt", "describe.txt", "/logs/", "/pods.txt", ".txt", ".log", "")
_OTHERS = (
    "namespaces/kube-system/",
    "nodes/",
    "fixtures/",
    "cluster/",
)  # what belongs to others comes after the test's own, folded
_SHORT = 25  # lines of a list of events that is shown without asking


class Evidence:
    """Reads folders of evidence. `below`: those that they may lie in, where an event file names them; no limit if empty."""

    def __init__(self, below: Sequence[Path] = ()) -> None:
        self._below = [folder.resolve() for folder in below]
        self._left = _ALL

    def show(self, folder: str) -> Markup:
        """What a folder holds, each file to be unfolded; nothing if there is none."""
        if not folder:
            return Markup()
        where = tag("p", "Evidence: ", tag("code", folder), class_="where")
        found = self._find(folder)
        if found is None:
            return tag("section", tag("h4", "Evidence"), where, tag("p", "The folder isn't here (any more)."))
        left, left_out = _FOLDER, 0
        groups: list[list[Markup]] = [[] for _ in range(len(_OTHERS) + 1)]
        for path in _ordered(found):
            text = _read(path) if min(left, self._left) > 0 else None
            if text is None:
                left_out += 1
                continue
            left -= len(text)
            self._left -= len(text)
            if text.strip():
                name = path.relative_to(found).as_posix()
                groups[_group(f"/{name}")].append(_file(name, text))
        others = [
            folded(
                [tag("code", name.rstrip("/")), tag("span", f"{len(files)} files", class_="time")], files, class_="file"
            )
            for name, files in zip(_OTHERS, groups[1:], strict=True)
            if files
        ]
        more = tag("p", f"{left_out} more files are in the folder.") if left_out else None
        return tag("section", tag("h4", "Events, logs and objects"), where, groups[0], others, more, class_="evidence")

    def _find(self, folder: str) -> Path | None:
        for candidate in (Path(folder), *(root / folder for root in self._below)):
            try:
                real = candidate.resolve(strict=True)
            except (OSError, ValueError):  # a name with a NUL
                continue
            is_allowed = not self._below or any(real.is_relative_to(root) for root in self._below)
            if is_allowed and (real / _README).is_file():
                return real
        return None


def _ordered(folder: Path) -> list[Path]:
    """Regular files, those that tell most first; what a link leads to isn't looked at."""
    return sorted(_files(folder), key=lambda path: _rank(f"/{path.relative_to(folder).as_posix()}"))


def _files(folder: Path) -> Iterator[Path]:
    for base, _, names in os.walk(folder):
        for name in names:
            path = Path(base, name)
            if name != _README and not path.is_symlink() and path.is_file():
                yield path


def _rank(path: str) -> tuple[int, int, str]:
    return _group(path), next(number for number, part in enumerate(_FIRST) if part in path), path


def _group(path: str) -> int:
    return next((number for number, part in enumerate(_OTHERS, start=1) if part in path), 0)


def _read(path: Path) -> str | None:
    """A file's text, of a long one the head and the tail."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size <= 4 * _FILE:
                raw = file.read(4 * _FILE)
            else:
                head = file.read(_FILE)
                file.seek(-_FILE, os.SEEK_END)
                raw = head + b"\n" + file.read()
    except OSError:
        return None
    return shorten(raw.decode(errors="replace"), _FILE)


def _file(name: str, text: str) -> Markup:
    lines = text.count("\n") + (not text.endswith("\n"))
    summary = joined(tag("code", name), tag("span", f"{lines} {'line' if lines == 1 else 'lines'}", class_="time"))
    is_open = _group(f"/{name}") == 0 and name.endswith("/events.txt") and lines <= _SHORT
    return folded(summary, tag("pre", text, tabindex="0"), is_open=is_open, class_="file")

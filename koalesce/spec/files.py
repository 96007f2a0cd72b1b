"""The files that a spec may read: those of its project, with all links followed."""

from __future__ import annotations

import os
from pathlib import Path

from koalesce.errors import UsageError
from koalesce.expressions import has_expression
from koalesce.spec.inputs import MANIFEST_SUFFIXES, Input, Inputs, globbed, manifests_in
from koalesce.suggestions import closest

__all__ = ["MANIFEST_SUFFIXES", "SpecFiles", "UncheckedExpressions", "shown", "similar_file"]


class SpecFiles:
    """Files relative to a spec's folder, none of them outside of the project root. Whatever is asked for is noted in `inputs`."""

    def __init__(self, folder: Path, root: Path, inputs: Inputs | None = None) -> None:
        self.folder = folder.resolve()
        self.root = root.resolve()
        self.inputs = inputs if inputs is not None else Inputs()

    def resolve(self, path: str) -> list[Path]:
        """Files of a path, a folder (its manifests) or a glob; UsageError if there are none, or outside of the project."""
        if any(character in path for character in "*?[") and not os.path.lexists(self.folder / path):
            return self._globbed(path)
        found = self._there(path)
        if not found.is_dir():
            self._note(path)
            return [found]
        self.inputs.note(Input("listing", str(self.folder / path)))
        names = manifests_in(found)
        if not names:
            raise UsageError(f"{path}: the folder has no manifests ({', '.join(MANIFEST_SUFFIXES)})")
        return [self._checked(self._note(f"{path}/{name}"), path) for name in names]

    def confined(self, path: str) -> Path:
        """A file or folder that is there, with links followed; UsageError if it isn't, or outside of the project."""
        found = self._there(path)
        self._note(path)
        return found

    def takes(self, path: Path) -> None:
        """Note that a file, or a folder with all that is in it, is read by others in the spec's name."""
        self.inputs.note(Input("file", str(path)))

    def runs(self, program: str) -> None:
        """Note that what is read depends on a program of this machine."""
        self.inputs.note(Input("program", program))

    def beyond(self, reason: str) -> None:
        """Note that the spec looks at something which can't be told later: its result is good for this run alone."""
        self.inputs.note_beyond(reason)

    def _there(self, path: str) -> Path:
        target = self._checked(self.folder / path, path)
        try:
            target.stat()
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else f"can't be read ({error.strerror})"
            raise UsageError(f"{path}: {reason}", hint=similar_file(self.folder / path)) from error
        return target

    def shown(self, path: Path) -> str:
        """A file as people know it: relative to the folder that they are in, where it's below it."""
        return shown(path)

    def _globbed(self, pattern: str) -> list[Path]:
        self._checked(self.folder / pattern.split("*")[0], pattern)
        self.inputs.note(Input("glob", str(self.folder), pattern))
        files = [self._checked(self._note(name), pattern) for name in globbed(self.folder, pattern)]
        if not files:
            raise UsageError(f"{pattern}: no file is called so")
        return files

    def _note(self, path: str) -> Path:
        """A file by the path that leads to it: a link may lead elsewhere later."""
        self.takes(self.folder / path)
        return self.folder / path

    def _checked(self, target: Path, path: str) -> Path:
        if "\0" in path:
            raise UsageError("a path has no NUL characters")
        try:
            resolved = target.resolve()
        except (OSError, RuntimeError) as error:
            raise UsageError(f"{path}: can't be followed to a file ({error})") from error
        if not resolved.is_relative_to(self.root):
            raise UsageError(f"{path}: leads outside of the project's folder")
        return resolved


class UncheckedExpressions(SpecFiles):
    """The same files, for checks before expressions are filled in: a path with one is passed over."""

    def resolve(self, path: str) -> list[Path]:
        """Files of a path; none for one with an expression."""
        return [] if has_expression(path) else super().resolve(path)

    def confined(self, path: str) -> Path:
        """A file that is there; the spec's folder for a path with an expression."""
        return self.folder if has_expression(path) else super().confined(path)


def similar_file(path: Path) -> str | None:
    """`did you mean "x"?` for a path that isn't there; that two files have the same suffix makes them no more alike."""
    try:
        beside = [Path(entry.name) for entry in path.parent.iterdir()]
    except OSError:
        return None
    by_stem = {other.stem: other.name for other in beside if other.suffix == path.suffix}
    by_stem |= {other.stem: other.name for other in beside if other.stem == path.stem}
    found = closest(path.stem, by_stem)
    return f'did you mean "{by_stem[found]}"?' if found is not None else None


def shown(path: Path) -> str:
    """A path as people know it: relative to the working folder where it's below it."""
    absolute = path if path.is_absolute() else Path.cwd() / path
    try:
        return str(absolute.relative_to(Path.cwd()))
    except ValueError:
        return str(absolute)

"""Where the objects of a step come from: written in the spec, or in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, StrictBool

from koalesce.errors import UsageError
from koalesce.expressions import resolve
from koalesce.steps.base import Files, Model, StepContext
from koalesce.yaml import InvalidDocument, load_manifests


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]


class FileSources(Model):
    """Objects in files."""

    file: str | None = None
    """A file, a folder or a glob of manifests, relative to the spec."""
    files: Paths = ()
    """Several of these."""
    expressions: StrictBool = False
    """Whether `${{ }}` in the files is filled in."""

    @property
    def paths(self) -> tuple[str, ...]:
        """All that was named."""
        return (self.file, *self.files) if self.file is not None else self.files

    def path_problems(self, files: Files) -> list[str]:
        """What is wrong with files whose names are known, as sentences."""
        found: list[str] = []
        for path in self.paths:
            if "${{" in path:
                continue
            try:
                found_in = files.resolve(path)
                if not load_manifests(found_in, shown=[_shown(file) for file in found_in]):
                    found.append(f"{path}: has no objects")
            except InvalidDocument as error:
                found += [problem.headline for problem in error.problems]
            except UsageError as error:
                found.append(str(error))
        return found

    def read_files(self, context: StepContext) -> Iterator[dict[str, Any]]:
        """The objects of all files; UsageError where they can't be read."""
        for path in self.paths:
            for manifest in load_manifests(context.files.resolve(path)):
                yield resolve(manifest.object, context.variables) if self.expressions else manifest.object


def _shown(path: Path) -> str:
    """A file as people know it: relative to the working folder where it's below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

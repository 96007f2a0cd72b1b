"""Files that several specs share: groups of steps, and variables, components and setup to include."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from koalesce.errors import UsageError
from koalesce.records import dataclass
from koalesce.spec.entries import REQUIRED, Group, StepEntry
from koalesce.spec.files import SpecFiles, shown
from koalesce.spec.inputs import Inputs
from koalesce.spec.source import Source
from koalesce.spec.translate import problems_of
from koalesce.yaml import Node, Problem, read
from koalesce.yaml.problems import Position, did_you_mean

if TYPE_CHECKING:
    from koalesce.spec.shared_models import SharedFile

_LARGEST = 4 * 1024 * 1024
_BEGIN = "a file to share begins with apiVersion: koalesce.dev/v1alpha1 and kind: Steps"
Say = Callable[[str, str | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A shared file that is in form."""

    file: FilePath
    source: Source
    data: Mapping[str, Any]
    groups: Mapping[str, Group]


@dataclass(slots=True)
class SharedFiles:
    """The shared files of a project, each read once; what is wrong inside of them is in `problems`."""

    root: FilePath
    inputs: Inputs = field(default_factory=Inputs)
    problems: list[Problem] = field(default_factory=list)
    _read: dict[FilePath, Shared | None] = field(default_factory=dict)

    def find(self, path: str, folder: FilePath, say: Say) -> Shared | None:
        """The file at a path relative to a folder; `say` is told, with a hint, why it can't be had."""
        try:
            file = SpecFiles(folder, self.root, self.inputs).confined(path)
        except UsageError as error:
            say(error.message, error.hint)
            return None
        if not file.is_file():
            say(f"{path}: not a file", None)
            return None
        return self.read(file)

    def read(self, file: FilePath) -> Shared | None:
        """The file at a resolved path; None if something is wrong with it."""
        if file not in self._read:
            self._read[file] = self._load(file)
        return self._read[file]

    def _load(self, file: FilePath) -> Shared | None:
        from koalesce.spec.shared_models import SharedFile  # imported here: most specs share nothing

        name = shown(file)
        try:
            text = file.read_bytes()[: _LARGEST + 1].decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(Problem(path=name, line=1, column=1, message=f"can't be read: {error}"))
            return None
        documents, problems = read(text, name)
        source = Source(name, text, documents[0] if documents else Node(None, Position(1, 1)))
        data = source.document.value
        if not problems and not isinstance(data, dict):
            problems = [source.problem(Position(1, 1), "not a file to share", hint=_BEGIN)]
        if not problems and len(documents) > 1:
            problems = [source.problem(documents[1].position, "a file to share is one document; this is a second one")]
        self.problems += problems
        if problems:
            return None
        try:
            found = SharedFile.model_validate(data)
        except ValidationError as error:
            self.problems += problems_of(error, data, (), source, adapter=SharedFile)
            return None
        return Shared(file=file, source=source, data=data, groups=_groups(found, data, source, file))


def _groups(found: SharedFile, data: Mapping[str, Any], source: Source, file: FilePath) -> dict[str, Group]:
    return {
        name: Group(
            name=name, source=source, file=file, steps=data["groups"][name]["steps"],
            params={key: said.default if "default" in said.model_fields_set else REQUIRED for key, said in group.params.items()},
            outputs=data["groups"][name].get("outputs", {}),
        )
        for name, group in found.groups.items()
    }  # fmt: skip


@dataclass(slots=True)
class Groups:
    """The groups that a spec can use: those that it includes, and those of files that it names."""

    files: SharedFiles
    included: Mapping[str, Group] = field(default_factory=dict)
    _told: set[Problem] = field(default_factory=set)  # what was said of a group's steps already

    def find(self, reference: str, folder: FilePath, here: Group | None, say: Say) -> Group | None:
        """The group of `FILE#NAME` or `#NAME`, said in a file of `folder`, or in another group (`here`)."""
        path, _, name = reference.partition("#")
        if path:
            shared = self.files.find(path, folder, say)
            if shared is None:
                return None
            known, where = shared.groups, path
        elif here is not None:
            shared = self.files.find(here.file.name, here.file.parent, say)
            known, where = (shared.groups if shared is not None else {}), "this file"
        else:
            known, where = self.included, "the included files"
        if name not in known:
            say(f'there is no group "{name}" in {where}', did_you_mean(name, known) or _there_are(known))
        return known.get(name)

    def noted(self, problems: Iterable[Problem], place: str) -> Iterator[Problem]:
        """Problems of a group's steps that weren't said yet, with the place that uses it."""
        for problem in dict.fromkeys(problems):
            if problem not in self._told:
                self._told.add(problem)
                yield replace(problem, message=f"{problem.message} (used in {place})")


BESIDE_USE = frozenset({"name", "if", "requires", "foreach", "outputs", "with", "continueOnFailure", "cluster"})


def parameter_problems(entry: StepEntry, group: Group) -> Iterator[Problem]:
    """Parameters that the group doesn't have, and required ones that aren't given."""
    given = entry.raw.get("with")
    given = given if isinstance(given, dict) else {}
    for name in given:
        if name not in group.params:
            hint = did_you_mean(name, group.params) or _there_are(group.params) or "it has none"
            yield entry.problem(("with", name), f'{group.name} has no parameter "{name}"', key=True, hint=hint)
    for name, default in group.params.items():
        if default is REQUIRED and name not in given:
            yield entry.problem(
                (entry.key,), f'{group.name} needs the parameter "{name}"', key=True, hint="give it by with"
            )


def _there_are(known: Mapping[str, Any]) -> str | None:
    return f"there are: {', '.join(known)}" if known else None

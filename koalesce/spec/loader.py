"""From a file to a spec that is known to be valid, or to everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from koalesce.spec.axes import Axes, choose_values
from koalesce.spec.draft import Draft
from koalesce.spec.files import shown
from koalesce.spec.include import Including
from koalesce.spec.inputs import Inputs
from koalesce.spec.loaded import LoadedSpec
from koalesce.spec.matrix import Cell, cells_of, in_cells
from koalesce.spec.models import API_VERSION
from koalesce.spec.project import Project, project_root
from koalesce.spec.shared import Groups, SharedFiles
from koalesce.spec.source import Source
from koalesce.spec.variables import known_variables
from koalesce.yaml import InvalidDocument, Node, Position, Problem, read
from koalesce.yaml.reader import SPEC_LIMITS


class InvalidSpecs(InvalidDocument):
    """Specs with problems, all of which are in `problems`."""


class SharedFileNamed(InvalidSpecs):
    """What is named as a spec is a file of step groups."""


def load(path: FilePath | str, **options: Any) -> LoadedSpec:
    """Read and check a spec that has no matrix of its own (of one that has, this is the first cell). Options as for `load_cells`."""
    return load_cells(path, **options)[0]


def load_cells(
    path: FilePath | str,
    *,
    root: FilePath | None = None,
    trust: bool = True,
    variables: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    providers: Iterable[str] | None = None,
    matrix: Axes | None = None,
) -> list[LoadedSpec]:
    """Read and check a spec, once for each cell of its matrix; InvalidSpecs with every problem of it.

    Executes nothing and stays in the project's folder.

    `root` is the project's folder (found from the spec's, if not given). Without `trust` a spec outside of the working folder's
    project is refused. `variables` replace those that the spec declares. `env` is the environment, of which specs see what the
    project lists; `providers` are the names of cluster providers (those of the registry, if not given). `matrix` has values for axes,
    instead of those that are written.
    """
    file = FilePath(path)
    name = shown(file)
    if not trust:
        _refuse_foreign(file, name, root)
    text = _text(file, name)
    documents, problems = read(text, name)
    source = Source(name, text, documents[0] if documents else Node(None, Position(1, 1)))
    problems += _shape(documents, problems, source)
    if not documents or not isinstance(documents[0].value, dict):
        raise InvalidSpecs(problems)
    _refuse_other_kinds(source)
    project = Project.find(file.parent, root)
    visible = project.visible(os.environ if env is None else env)
    known = _providers() if providers is None else frozenset(providers)
    inputs = Inputs()
    including = Including(source, SharedFiles(project.root, inputs))
    including.include(file)
    if matrix:
        choose_values(including.source.document.value, matrix)
    cells, found = _cells(including.source, variables or {}, visible)
    problems += found
    draft = partial(Draft, including.source, file, project, variables or {}, visible)
    drafts = [draft(cell, Groups(including.files, including.groups), inputs) for cell in (cells or (None,))]
    loaded = [draft.load(known) for draft in drafts]
    problems += [*including.problems, *including.files.problems]
    problems += in_cells([(draft.cell, draft.problems) for draft in drafts])
    specs = [spec for spec in loaded if spec is not None]
    if problems or len(specs) < len(drafts):
        raise InvalidSpecs(_in_order(problems, name))
    return specs


def _cells(source: Source, overrides: Mapping[str, Any], env: Mapping[str, str]) -> tuple[list[Cell], list[Problem]]:
    """The cells of the spec's own matrix, whose values may come from variables and the environment."""
    data = source.document.value
    if "matrix" not in data:
        return [], []
    known, _ = known_variables(data.get("vars"), overrides=overrides, env=env, outer={}, source=source, where=("vars",))
    return cells_of(data["matrix"], {"vars": known, "env": env}, source, ("matrix",))


def _refuse_foreign(file: FilePath, name: str, root: FilePath | None) -> None:
    """A spec is code: one from another project isn't run by mistake."""
    home = (root or project_root(FilePath.cwd())).resolve()
    if not file.resolve().is_relative_to(home):
        message = f"the spec is outside of the project {home}, and running it executes what it says"
        raise InvalidSpecs([Problem(path=name, line=1, column=1, message=message, hint="--trust runs it all the same")])


def load_all(paths: Sequence[FilePath | str], **options: Any) -> list[LoadedSpec]:
    """Several specs, those with a matrix once for each cell; InvalidSpecs with the problems of all. Options as for `load_cells`."""
    loaded: list[LoadedSpec] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            loaded += load_cells(path, **options)
        except InvalidSpecs as error:
            problems += error.problems
    if problems:
        raise InvalidSpecs(problems)
    return loaded


def _providers() -> Collection[str]:
    from koalesce.providers import REGISTRY

    return REGISTRY


def _text(file: FilePath, name: str) -> str:
    def wrong(message: str) -> InvalidSpecs:
        return InvalidSpecs([Problem(path=name, line=1, column=1, message=message)])

    try:
        if file.stat().st_size > 4 * SPEC_LIMITS.size:
            raise wrong(f"the file has more than {4 * SPEC_LIMITS.size:,} bytes")
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise wrong(f"can't be read: {error.strerror}") from error


_BEGIN = f"a spec begins with apiVersion: {API_VERSION}"


def _shape(documents: Sequence[Node], problems: Sequence[Problem], source: Source) -> list[Problem]:
    """A spec is one document, and a map."""
    if not documents and not problems:
        return [source.problem(Position(1, 1), "the file is empty", hint=_BEGIN)]
    if not documents:
        return []
    if len(documents) > 1:
        return [source.problem(documents[1].position, "a spec is one document; this is a second one")]
    if documents[0].value is None:
        return [source.problem(Position(1, 1), "the file is empty", hint=_BEGIN)]
    if not isinstance(documents[0].value, dict):
        return [source.problem(documents[0].position, "a spec is a map", hint=_BEGIN)]
    return []


def _refuse_other_kinds(source: Source) -> None:
    """One sentence for a file that is something else, instead of all that keeps it from being a spec."""
    api, kind = (source.document.value.get(name) for name in ("apiVersion", "kind"))
    if not (isinstance(api, str) and isinstance(kind, str)) or kind == "Spec":
        return

    def problem(message: str, hint: str) -> Problem:
        return source.problem_at(("kind",), message, hint=hint)

    if api.startswith("koalesce.dev/"):
        if kind == "Steps":
            said = "this is a file of step groups and no spec"
            raise SharedFileNamed(
                [problem(said, "specs take it by use or include; koalesce validate checks it as what it is")]
            )
        if kind == "Image":
            raise InvalidSpecs([problem("this describes an image and is no spec", "koalesce image build takes it")])
    elif "/" in api or api == "v1":
        raise InvalidSpecs([problem(f"this is an object of Kubernetes ({api}, {kind}) and no spec", _BEGIN)])


def _in_order(problems: Iterable[Problem], name: str) -> list[Problem]:
    """Those of the spec itself by line, then those of other files."""
    return sorted(dict.fromkeys(problems), key=lambda each: (each.path != name, each.path, each.line, each.column))

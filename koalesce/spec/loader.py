"""From a file to a spec that is known to be valid, or to everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from koalesce.spec.checks import name_clashes, structure_problems
from koalesce.spec.cluster import ClusterSpec
from koalesce.spec.entries import StepEntry
from koalesce.spec.files import SpecFiles, UncheckedExpressions, shown
from koalesce.spec.loaded import LoadedSpec
from koalesce.spec.models import API_VERSION, Spec
from koalesce.spec.names import ExpressionChecks
from koalesce.spec.origins import file_problems
from koalesce.spec.project import Project, project_root
from koalesce.spec.reading import StepReader, step_lists
from koalesce.spec.source import Source
from koalesce.spec.supported import unsupported_problems
from koalesce.spec.translate import problems_of
from koalesce.spec.variables import fill_in_known, known_variables
from koalesce.yaml import InvalidDocument, Node, Position, Problem, read
from koalesce.yaml.nodes import Path
from koalesce.yaml.reader import SPEC_LIMITS


class InvalidSpecs(InvalidDocument):
    """Specs with problems, all of which are in `problems`."""


def load(
    path: FilePath | str,
    *,
    root: FilePath | None = None,
    trust: bool = True,
    variables: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    providers: Iterable[str] | None = None,
) -> LoadedSpec:
    """Read and check a spec; InvalidSpecs with every problem of it. Executes nothing and stays in the project's folder.

    `root` is the project's folder (found from the spec's, if not given). Without `trust` a spec outside of the working folder's
    project is refused. `variables` replace those that the spec declares. `env` is the environment, of which specs see what the
    project lists; `providers` are the names of cluster providers (those of the registry, if not given).
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
    project = Project.find(file.parent, root)
    draft = _Draft(source, file, project, variables or {}, project.visible(os.environ if env is None else env))
    loaded = draft.load(_providers() if providers is None else frozenset(providers))
    found = _in_order([*problems, *draft.problems], name)
    if found or loaded is None:
        raise InvalidSpecs(found)
    return loaded


def _refuse_foreign(file: FilePath, name: str, root: FilePath | None) -> None:
    """A spec is code: one from another project isn't run by mistake."""
    home = (root or project_root(FilePath.cwd())).resolve()
    if not file.resolve().is_relative_to(home):
        message = f"the spec is outside of the project {home}, and running it executes what it says"
        raise InvalidSpecs([Problem(path=name, line=1, column=1, message=message, hint="--trust runs it all the same")])


def load_all(paths: Sequence[FilePath | str], **options: Any) -> list[LoadedSpec]:
    """Several specs; InvalidSpecs with the problems of all of them. Options as for `load`."""
    loaded: list[LoadedSpec] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            loaded.append(load(path, **options))
        except InvalidSpecs as error:
            problems += error.problems
    if problems:
        raise InvalidSpecs(problems)
    return loaded


def _providers() -> frozenset[str]:
    from koalesce.providers import REGISTRY

    return frozenset(REGISTRY)


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


def _in_order(problems: Iterable[Problem], name: str) -> list[Problem]:
    """Those of the spec itself by line, then those of other files."""
    return sorted(dict.fromkeys(problems), key=lambda each: (each.path != name, each.path, each.line, each.column))


_NO_VALUE = "has no value before the run, and needs one here"


@dataclass
class _Draft:
    """A document on its way to a spec."""

    source: Source
    file: FilePath
    project: Project
    overrides: Mapping[str, Any]
    env: Mapping[str, str]

    def __post_init__(self) -> None:
        self.data: dict[str, Any] = self.source.document.value
        self.problems: list[Problem] = []
        self._unresolved: list[
            Problem
        ] = []  # at expressions that have no value yet where one is needed (an unset `env.NAME`)
        self.files = SpecFiles(self.file.resolve().parent, self.project.root)
        self.unchecked = UncheckedExpressions(self.files.folder, self.project.root)

    def load(self, providers: frozenset[str]) -> LoadedSpec | None:
        """Every check there is; the spec, if its form is right."""
        variables = self._variables(self.data.get("vars"), {}, ("vars",))
        scopes = self._test_scopes(variables)
        entries = self._entries(variables, scopes)
        spec = self._model(variables, entries)
        self.problems += structure_problems(self.data, self.source, providers=providers)
        self.problems += unsupported_problems(self.data, self.source)
        self.problems += file_problems(fill_in_known(self.data, self._scope(variables)), self.source, self.unchecked)
        node_names = self._node_names(variables)
        self.problems += name_clashes(node_names, self.data, self.source)
        if "${{" in self.source.text:
            checks = ExpressionChecks(self.data, self.source, entries, node_names, self.project.env_names)
            self.problems += checks.problems()
        if spec is None:
            if not self.problems:
                self.problems += [replace(each, message=_NO_VALUE, hint=None) for each in self._unresolved]
            return None
        loaded = LoadedSpec(
            path=self.file.resolve(),
            shown=self.source.path,
            root=self.project.root,
            spec=spec,
            source=self.source,
            files=self.files,
            variables=variables,
            env=self.env,
            env_names=self.project.env_names,
        )
        is_clear = not any(problem.where.startswith("cluster") for problem in self.problems)
        self.problems += loaded.request_problems(is_clear=is_clear)
        return loaded

    def _node_names(self, variables: Mapping[str, Any]) -> list[str]:
        """The names of the nodes, as far as they can be known; none of a cluster that is there already."""
        try:
            cluster = ClusterSpec.model_validate(fill_in_known(self.data.get("cluster") or {}, self._scope(variables)))
        except ValidationError:
            return []
        return [node.name for node in cluster.node_requests()]

    def _scope(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        return {"vars": variables, "env": self.env}

    def _variables(self, written: Any, outer: Mapping[str, Any], where: Path) -> dict[str, Any]:
        known, problems = known_variables(
            written, overrides=self.overrides, env=self.env, outer=outer, source=self.source, where=where
        )
        self.problems += problems
        return known

    def _test_scopes(self, variables: dict[str, Any]) -> list[dict[str, Any]]:
        """The known variables of each test: the spec's, and its own over them."""
        tests = self.data.get("tests")
        scopes: list[dict[str, Any]] = []
        for index, test in enumerate(tests if isinstance(tests, list) else []):
            written = test.get("vars") if isinstance(test, dict) else None
            own = self._variables(written, variables, ("tests", index, "vars"))
            hidden = set(written) - set(own) if isinstance(written, dict) else set()
            scopes.append({**{name: value for name, value in variables.items() if name not in hidden}, **own})
        return scopes

    def _entries(
        self, variables: Mapping[str, Any], scopes: Sequence[Mapping[str, Any]]
    ) -> dict[Path, list[StepEntry]]:
        """The steps of every list there is."""
        reader = StepReader(self.source, self.unchecked)
        found: dict[Path, list[StepEntry]] = {}
        for place in step_lists(self.data):
            raw = _value_at(self.data, place.where)
            if isinstance(raw, list):
                known = self._scope(variables if place.test is None else scopes[place.test])
                found[place.where] = [reader.read(step, place, index, known) for index, step in enumerate(raw)]
        self.problems += reader.problems
        return found

    def _model(self, variables: Mapping[str, Any], entries: Mapping[Path, list[StepEntry]]) -> Spec | None:
        """The spec as a model, its steps being entries and its known expressions filled in."""
        data = _with_entries(self.data, entries, self._scope(variables), ())
        try:
            return Spec.model_validate(data)
        except ValidationError as error:
            found = problems_of(error, data, (), self.source, adapter=Spec, lenient=True)
            self.problems += found
            self._unresolved = [] if found else problems_of(error, data, (), self.source, adapter=Spec)
            return None


def _value_at(data: Any, where: Path) -> Any:
    for step in where:
        if isinstance(data, dict):
            data = data.get(str(step))
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            return None
    return data


def _with_entries(value: Any, entries: Mapping[Path, list[StepEntry]], known: Mapping[str, Any], path: Path) -> Any:
    """The data with lists of steps replaced by their entries."""
    if path in entries:
        return entries[path]
    match value:
        case dict():
            return {key: _with_entries(child, entries, known, (*path, key)) for key, child in value.items()}
        case list():
            return [_with_entries(child, entries, known, (*path, index)) for index, child in enumerate(value)]
        case str() if "${{" in value:
            return fill_in_known(value, known)
    return value

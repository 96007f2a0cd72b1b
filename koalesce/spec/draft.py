"""A document on its way to a spec: every check there is, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from koalesce.spec.checks import name_clashes, structure_problems
from koalesce.spec.cluster import ClusterSpec
from koalesce.spec.entries import StepEntry
from koalesce.spec.files import SpecFiles, UncheckedExpressions
from koalesce.spec.loaded import LoadedSpec
from koalesce.spec.models import Spec
from koalesce.spec.names import ExpressionChecks
from koalesce.spec.origins import file_problems
from koalesce.spec.project import Project
from koalesce.spec.reading import StepReader, step_lists
from koalesce.spec.source import Source
from koalesce.spec.supported import unsupported_problems
from koalesce.spec.translate import problems_of
from koalesce.spec.variables import fill_in_known, known_variables
from koalesce.yaml import Problem
from koalesce.yaml.nodes import Path

_NO_VALUE = "has no value before the run, and needs one here"


@dataclass
class Draft:
    """A document on its way to a spec."""

    source: Source
    file: FilePath
    project: Project
    overrides: Mapping[str, Any]
    env: Mapping[str, str]

    def __post_init__(self) -> None:
        self.data: dict[str, Any] = self.source.document.value
        self.problems: list[Problem] = []
        # At expressions that have no value yet where one is needed (an unset `env.NAME`, say).
        self._unresolved: list[Problem] = []
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

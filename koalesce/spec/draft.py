"""A document on its way to a spec: every check there is, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from koalesce.records import dataclass
from koalesce.spec.checks import cell_problems, structure_problems
from koalesce.spec.cluster import ClusterSpec
from koalesce.spec.cluster_checks import cluster_problems, name_clashes
from koalesce.spec.disturbing import Disturbances
from koalesce.spec.entries import StepEntry
from koalesce.spec.expansion import ExpandedSource, Origin, expanded, origins_of
from koalesce.spec.files import SpecFiles, UncheckedExpressions
from koalesce.spec.fixtures import fixture_problems
from koalesce.spec.inputs import Inputs
from koalesce.spec.kinds import KindChecks
from koalesce.spec.loaded import LoadedSpec
from koalesce.spec.matrix import Cell
from koalesce.spec.models import Spec
from koalesce.spec.origins import file_problems
from koalesce.spec.pairs import pair_problems
from koalesce.spec.project import Project
from koalesce.spec.reading import StepReader, step_lists
from koalesce.spec.sections import cluster_sections
from koalesce.spec.shared import Groups
from koalesce.spec.source import Source
from koalesce.spec.translate import problems_of
from koalesce.spec.variables import fill_in_known, known_variables
from koalesce.yaml import Problem
from koalesce.yaml.nodes import Path

_NO_VALUE = "has no value before the run, and needs one here"
_DISTURBING = ("chaos", "nodes", "snapshot")  # step types


@dataclass
class Draft:
    """A document on its way to a spec."""

    source: Source
    file: FilePath
    project: Project
    overrides: Mapping[str, Any]
    env: Mapping[str, str]
    cell: Cell | None = None  # of the spec's own matrix
    groups: Groups | None = None  # for `use`; None: none are read
    inputs: Inputs = field(default_factory=Inputs)  # what is read on the way
    _origins: list[Origin] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data: dict[str, Any] = self.source.document.value
        self.problems: list[Problem] = []
        # At expressions that have no value yet where one is needed (an unset `env.NAME`, say).
        self._unresolved: list[Problem] = []
        self.files = SpecFiles(self.file.resolve().parent, self.project.root, self.inputs)
        self.unchecked = UncheckedExpressions(self.files.folder, self.project.root, self.inputs)

    def load(self, providers: Collection[str]) -> LoadedSpec | None:
        """Every check there is; the spec, if its form is right."""
        variables = self._variables(self.data.get("vars"), {}, ("vars",))
        self._origins, problems = origins_of(self.data, self._scope(variables), self.source)
        self.problems += problems
        self._origins = self._with_variables(variables)
        entries = self._entries(variables)
        spec = self._model(variables, entries)
        filled = fill_in_known(self.data, self._scope(variables))
        self.problems += structure_problems(self.data, self.source)
        expanded_source = ExpandedSource.of(self.source, self._origins)
        self.problems += cell_problems(expanded(self.data, self._origins), expanded_source)
        self.problems += cluster_problems(filled, self.source, self._written_entries(entries), providers=providers)
        self.problems += file_problems(filled, self.source, self.unchecked)
        self.problems += KindChecks(self.data, self.source, self._written_entries(entries), self.files).problems()
        clusters = self._clusters(filled)
        node_names = {
            name: [node.name for node in cluster.node_requests()] if cluster else []
            for name, cluster in clusters.items()
        }
        for name, names in node_names.items():
            self.problems += name_clashes(names, filled, name, self.source)
        self.problems += fixture_problems(self.data, self.source, self._written_entries(entries), node_names)
        if "subnet" in self.source.text:
            from koalesce.spec.subnets import subnet_problems

            self.problems += subnet_problems(filled, self.source)
        if any(step.key in _DISTURBING for listed in entries.values() for entry in listed for step in entry.family):
            from koalesce.spec.faults import fault_problems

            self.problems += fault_problems(self.data, self._written_entries(entries), clusters)
        if "${{" in self.source.text or any(entry.group for listed in entries.values() for entry in listed):
            from koalesce.spec.names import ExpressionChecks  # imported here, as all that few specs need

            written = self._written_entries(entries)
            checks = ExpressionChecks(self.data, self.source, written, node_names, self.project.env_names)
            self.problems += checks.problems()
        if spec is None:
            if not self.problems:
                self.problems += [replace(each, message=_NO_VALUE, hint=None) for each in self._unresolved]
            return None
        self.problems += Disturbances(spec, self.files).problems()
        loaded = LoadedSpec(
            path=self.file.resolve(),
            shown=self.source.path if self.cell is None else f"{self.source.path} [{self.cell}]",
            root=self.project.root,
            spec=spec,
            source=self.source,
            files=self.files,
            variables=variables,
            cell=self.cell,
            origins=tuple(self._origins),
            env=self.env,
            env_names=self.project.env_names,
        )
        is_clear = not any(problem.where.startswith("cluster") for problem in self.problems)
        for name in spec.cluster_specs:
            self.problems += loaded.request_problems(name, is_clear=is_clear)
        return loaded

    def _clusters(self, filled: Mapping[str, Any]) -> dict[str, ClusterSpec | None]:
        """The clusters by name, as far as they can be known."""
        found: dict[str, ClusterSpec | None] = {}
        for _, name, section in cluster_sections(filled):
            try:
                found[name] = ClusterSpec.model_validate(section)
            except ValidationError:
                found[name] = None
        return found

    def _scope(self, variables: Mapping[str, Any], origin: Origin | None = None) -> dict[str, Any]:
        """What is known at load: for the spec, or for one of its tests."""
        matrix = {**(self.cell.values if self.cell else {}), **(origin.matrix if origin else {})}
        return {"vars": variables, "env": self.env, "matrix": matrix}

    def _variables(
        self, written: Any, outer: Mapping[str, Any], where: Path, origin: Origin | None = None
    ) -> dict[str, Any]:
        known, problems = known_variables(
            written, overrides=self.overrides, env=self.env, outer=outer, source=self.source, where=where,
            matrix=self._scope({}, origin)["matrix"],
        )  # fmt: skip
        self.problems += problems
        return known

    def _with_variables(self, variables: dict[str, Any]) -> list[Origin]:
        """The origins with the known variables of each test: the spec's, and its own over them."""
        found: list[Origin] = []
        for origin in self._origins:
            test = self.data["tests"][origin.index]
            written = test.get("vars") if isinstance(test, dict) else None
            own = self._variables(written, variables, ("tests", origin.index, "vars"), origin)
            hidden = set(written) - set(own) if isinstance(written, dict) else set()
            known = {**{name: value for name, value in variables.items() if name not in hidden}, **own}
            found.append(replace(origin, variables=known))
        return found

    def _entries(self, variables: Mapping[str, Any]) -> dict[Path, list[StepEntry]]:
        """The steps of every list there is, those of a test with a matrix once for each of its cells."""
        reader = StepReader(self.source, self.unchecked, self.groups)
        found: dict[Path, list[StepEntry]] = {}
        for place in step_lists(self.data):
            raw = _value_at(self.data, place.where)
            if not isinstance(raw, list):
                continue
            if place.test is None:
                known = self._scope(variables)
                found[place.where] = [reader.read(step, place, index, known) for index, step in enumerate(raw)]
                continue
            for number, origin in enumerate(self._origins):
                if origin.index == place.test:
                    known = self._scope(origin.variables, origin)
                    path = ("tests", number, *place.where[2:])
                    found[path] = [reader.read(step, place, index, known) for index, step in enumerate(raw)]
        self.problems += reader.problems
        self.problems += pair_problems(found)
        if any(
            step.key in ("snapshot", "node-state")
            for listed in found.values()
            for each in listed
            for step in each.family
        ):
            from koalesce.spec.snapshots import snapshot_problems

            self.problems += snapshot_problems(found, self._alone())
        return found

    def _alone(self) -> frozenset[int]:
        """The numbers of tests beside which no other runs."""
        tests = [_value_at(self.data, ("tests", origin.index)) for origin in self._origins]
        return frozenset(
            number
            for number, test in enumerate(tests)
            if isinstance(test, dict) and (test.get("serial") is True or test.get("disruptive") is True)
        )

    def _written_entries(self, entries: Mapping[Path, list[StepEntry]]) -> dict[Path, list[StepEntry]]:
        """The steps by where their list stands in the document."""
        return {listed[0].where[:-1]: listed for listed in reversed(list(entries.values())) if listed}

    def _model(self, variables: Mapping[str, Any], entries: Mapping[Path, list[StepEntry]]) -> Spec | None:
        """The spec as a model, its steps being entries and its known expressions filled in."""
        written = expanded(self.data, self._origins)
        data = _with_entries(written, entries, self._scope(variables), ())
        for number, origin in enumerate(self._origins):
            data["tests"][number] = self._test(written["tests"][number], number, origin, entries)
        source = ExpandedSource.of(self.source, self._origins)
        try:
            return Spec.model_validate(data)
        except ValidationError as error:
            found = problems_of(error, data, (), source, adapter=Spec, lenient=True)
            self.problems += found
            self._unresolved = [] if found else problems_of(error, data, (), source, adapter=Spec)
            return None

    def _test(self, written: Any, number: int, origin: Origin, entries: Mapping[Path, list[StepEntry]]) -> Any:
        """A test with its steps as entries and what it knows filled in; its variables stay as written, being resolved in turn."""
        path: Path = ("tests", number)
        if not isinstance(written, dict):
            return written
        known = self._scope(origin.variables, origin)
        found = _with_entries({key: value for key, value in written.items() if key != "vars"}, entries, known, path)
        return {key: value if key == "vars" else found[key] for key, value in written.items()}


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

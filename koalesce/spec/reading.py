"""Steps out of a document: which type each is, and what is wrong with it as far as that can be said before it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, cast

from koalesce.expressions import has_expression
from koalesce.records import dataclass
from koalesce.spec.entries import REQUIRED, BoundStep, Group, StepEntry, build
from koalesce.spec.fields import COMMON_NAMES, EXCLUSIVE_MODES, Foreach, StepFields
from koalesce.spec.files import SpecFiles, UncheckedExpressions
from koalesce.spec.invariants import invariant_problems
from koalesce.spec.pairs import form_problems, unpaired
from koalesce.spec.shared import BESIDE_USE, Groups, parameter_problems
from koalesce.spec.source import Source
from koalesce.spec.translate import known_fields
from koalesce.spec.variables import fill_in_known
from koalesce.steps import STEPS
from koalesce.steps.base import Action, Assertion, Course, Step
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

if TYPE_CHECKING:
    from koalesce.steps.use import Use

_TYPES = "`koalesce explain` lists the types"
_OF_COURSES = ("stableFor", "within")  # which hold for each of their changes


@dataclass(frozen=True, slots=True)
class StepList:
    """A list of steps of a document: where it stands, and what it's called in reports."""

    where: Path
    section: str
    test: int | None = None


def step_lists(data: Any) -> Iterator[StepList]:
    """Every list of steps that a document has."""
    yield StepList(("setup", "steps"), "setup")
    yield StepList(("setup", "onFailure"), "onFailure")
    yield StepList(("cleanup",), "cleanup")
    yield StepList(("onFailure",), "onFailure")
    yield StepList(("invariants",), "invariants")
    for index in _indexes(data, "tests"):
        for field in ("steps", "cleanup", "onFailure"):
            yield StepList(("tests", index, field), field, index)
    for index in _indexes(data, "components"):
        yield StepList(("components", index, "ready"), "ready")


def _indexes(data: Any, field: str) -> range:
    items = data.get(field) if isinstance(data, dict) else None
    return range(len(items)) if isinstance(items, list) else range(0)


class StepReader:
    """Makes StepEntry objects of a document's steps, and gathers what is wrong with them."""

    def __init__(
        self, source: Source, files: UncheckedExpressions, groups: Groups | None = None, chain: tuple[Group, ...] = ()
    ) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._files = files
        self._groups = groups
        self._chain = chain  # the groups that use each other down to the one whose steps these are

    def read(self, raw: Any, place: StepList, index: int, known: Mapping[str, Any]) -> StepEntry:
        """The entry of one step; `known` is the scope of what has its value already."""
        entry = self._read(raw, (*place.where, index), place, index, known)
        self.problems += (*form_problems(entry), *invariant_problems(entry))
        return entry

    def _read(self, raw: Any, where: Path, place: StepList, index: int, known: Mapping[str, Any]) -> StepEntry:
        entry = StepEntry(
            key="", type=Step, raw={}, where=where, section=place.section, index=index, source=self._source,
            files=self._other_files(where),
        )  # fmt: skip
        if not isinstance(raw, dict):
            self._say(where, "a step is a map with its type as a key, such as {sleep: 5s}")
            return entry
        key = self._type_key(raw, where)
        if key is None:
            return replace(entry, raw=raw)
        kind = STEPS[key]
        self._check_fields(kind, key, raw, where)
        filled = fill_in_known(raw, known)
        step, fields, problems = build(kind, key, filled, where, self._source, lenient=True)
        self.problems += problems
        if step is not None:
            self._check_step(step, key, where, entry.files)
        draft = None
        if step is not None and fields is not None and not has_expression(filled):
            draft = BoundStep(step=step, fields=fields)
        inner = None
        if key == "background" and isinstance(raw[key], dict) and isinstance(raw[key].get("run"), dict):
            inner = self._read(raw[key]["run"], (*where, key, "run"), place, index, known)
        entry = replace(entry, key=key, type=kind, raw=raw, foreach=_foreach(fields, raw), draft=draft, inner=inner)
        if key == "use" and step is not None and self._groups is not None:
            given = filled.get("with") if isinstance(filled.get("with"), dict) else {}
            return self._with_group(entry, cast("Use", step), given or {}, place, known)
        return entry

    def _with_group(
        self, entry: StepEntry, step: Use, given: Mapping[str, Any], place: StepList, known: Mapping[str, Any]
    ) -> StepEntry:
        """A `use` step with the steps of its group, read with the parameters whose values are known."""
        where: Path = (entry.key, "group") if isinstance(entry.raw[entry.key], dict) else (entry.key,)

        def say(message: str, hint: str | None) -> None:
            self.problems.append(entry.problem(where, message, hint=hint))

        here = self._chain[-1] if self._chain else None
        group = self._groups.find(step.group, (entry.files or self._files).folder, here, say) if self._groups else None
        if group is None or self._groups is None:
            return entry
        if group in self._chain:
            names = [each.described for each in (*self._chain[self._chain.index(group) :], group)]
            say(f"groups use each other in a circle: {' → '.join(names)}", None)
            return entry
        self.problems += parameter_problems(entry, group)
        reader = StepReader(
            group.source,
            UncheckedExpressions(group.file.parent, self._files.root, self._files.inputs),
            self._groups,
            (*self._chain, group),
        )
        inside = StepList((*group.where, "steps"), place.section, place.test)
        params = {**group.params, **given}
        values = {name: value for name, value in params.items() if value is not REQUIRED and not has_expression(value)}
        children = [
            replace(reader.read(raw, inside, index, {**known, "params": values}), used_in=entry.line)
            for index, raw in enumerate(group.steps)
        ]
        problems = [*reader.problems, *unpaired(children)]
        self.problems += self._groups.noted(problems, f"{self._source.path}:{self._source.locate(entry.where).line}")
        return replace(entry, group=group, children=tuple(children))

    def _other_files(self, where: Path) -> SpecFiles | None:
        """Where paths of a step lead that stands in another file than the spec."""
        if self._chain:
            return self._checked_at(self._files.folder)
        other = self._source.locate(where).file
        return self._checked_at(other.folder) if other is not None else None

    def _checked_at(self, folder: FilePath) -> SpecFiles:
        return SpecFiles(folder, self._files.root, self._files.inputs)

    def _say(self, where: Path, message: str, *, key: bool = False, hint: str | None = None) -> None:
        self.problems.append(self._source.problem_at(where, message, key=key, hint=hint))

    def _type_key(self, raw: Mapping[str, Any], where: Path) -> str | None:
        """The one key that says the type, everything else that is no common field being a problem."""
        types = [name for name in raw if name in STEPS]
        others = [name for name in raw if name not in COMMON_NAMES and name not in types]
        if len(types) > 1:
            message = f"a step has exactly one type; this one says {' and '.join(types)}"
            self._say((*where, types[1]), message, key=True, hint="make two steps of it")
            return None
        if not types:
            self._no_type(others, where)
            return None
        for name in others:
            self._say((*where, name), "unknown field", key=True, hint=_where_to(name, types[0]))
        return types[0]

    def _no_type(self, others: list[str], where: Path) -> None:
        for name in others:
            hint = did_you_mean(name, {*STEPS, *COMMON_NAMES}) or _TYPES
            self._say((*where, name), "unknown step type", key=True, hint=hint)
        if not others:
            self._say(where, "a step needs a type", hint=_TYPES)

    def _check_fields(self, kind: type[Step], key: str, raw: Mapping[str, Any], where: Path) -> None:
        """Common fields that make no sense with the type, or with each other."""
        modes = [name for name in EXCLUSIVE_MODES if name in raw]
        if len(modes) > 1:
            self._say((*where, modes[1]), f"{' and '.join(modes)} exclude each other", key=True)
        if key == "use":
            for name in (name for name in raw if name in COMMON_NAMES and name not in BESIDE_USE):
                self._say((*where, name), "the steps of the group say this, each for itself", key=True)
            return
        if "with" in raw:
            self._say((*where, "with"), "parameters are for groups, beside use", key=True)
        for name in (*EXCLUSIVE_MODES, "within"):
            if name in raw and not issubclass(kind, Assertion | Course if name in _OF_COURSES else Assertion):
                hint = "stableFor says how long each change must last" if issubclass(kind, Course) else None
                self._say((*where, name), f"only steps that observe can have this, and {key} acts", key=True, hint=hint)
        if kind.needs_time and not {"consistently", "stableFor"} & raw.keys():
            message = (
                f"{key} needs a time: say beside it consistently (from now on) or stableFor (once it has come to rest)"
            )
            self._say((*where, key), message, key=True)
        if "expectFailure" in raw and issubclass(kind, Course):
            self._say(
                (*where, "expectFailure"), f"{key} makes many changes: none of them is the one to be refused", key=True
            )
        elif "expectFailure" in raw and not (issubclass(kind, Action) or kind.writes):
            self._say((*where, "expectFailure"), f"only steps that act can have this, and {key} doesn't", key=True)

    def _check_step(self, step: Step, key: str, where: Path, other: SpecFiles | None) -> None:
        """What the step itself finds; sentences about a value that isn't filled in yet are passed over."""
        files = self._files if other is None else UncheckedExpressions(other.folder, other.root, other.inputs)
        for sentence in step.static_problems(files):
            if "${{" not in sentence:
                message, _, hint = sentence.partition("\n  hint: ")
                self._say((*where, key), message, key=True, hint=hint or None)


def _where_to(name: str, key: str) -> str | None:
    """A hint for a name that is unknown beside the type."""
    if key in STEPS and name in known_fields(STEPS[key], ()):
        return f'did you mean to put it under "{key}"?'
    return did_you_mean(name, COMMON_NAMES)


def _foreach(fields: StepFields | None, raw: Mapping[str, Any]) -> Foreach | None:
    return fields.foreach if fields is not None and "foreach" in raw else None

"""A step as it stands in a spec: its type, its common fields, and the text they come from, until it's bound to values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from koalesce.errors import KoalesceError
from koalesce.expressions import ExpressionError, find_expressions, has_expression, resolve
from koalesce.records import dataclass
from koalesce.spec.conditions import Condition
from koalesce.spec.fields import COMMON_NAMES, Foreach, Places, StepFields
from koalesce.spec.files import SpecFiles
from koalesce.spec.samples import SAMPLES
from koalesce.spec.source import Source
from koalesce.spec.translate import problems_of
from koalesce.steps import STEPS
from koalesce.steps.base import Step
from koalesce.yaml.nodes import Path, format_path
from koalesce.yaml.problems import Problem, format_problems

_FEW = 4  # step types to name that have a field
_M = TypeVar("_M", bound=BaseModel)


class StepInvalid(KoalesceError):
    """A step that isn't valid once its expressions are filled in; `problems` say where and why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(format_problems(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundStep:
    """A step with all of its values: `step` to attempt or act, `fields` for the engine."""

    step: Step
    fields: StepFields

    @property
    def title(self) -> str:
        """The name that its author gave it, otherwise a few words of its own."""
        return self.fields.name or self.step.title()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Steps that several specs share. `params` holds the default of each parameter, REQUIRED where it has none."""

    name: str
    source: Source
    file: FilePath
    params: Mapping[str, Any]
    steps: Sequence[Any]
    outputs: Mapping[str, Any]

    @property
    def where(self) -> Path:
        """Where it stands in its file."""
        return ("groups", self.name)

    @property
    def described(self) -> str:
        """Its file and its name, as people know them."""
        return f"{self.source.path}#{self.name}"


REQUIRED: Any = object()


@dataclass(frozen=True, kw_only=True)
class StepEntry:
    """A step of a spec.

    `section` is steps, setup, cleanup, onFailure, invariants or ready, `index` its place there from 0. `raw` is the whole mapping as written,
    `key` its type key. `draft` is the step where its values are known at load, otherwise None.
    """

    key: str
    type: type[Step]
    raw: Mapping[str, Any]
    where: Path
    section: str
    index: int
    source: Source
    foreach: Foreach | None = None
    draft: BoundStep | None = None
    inner: StepEntry | None = None  # what a `background` step runs
    group: Group | None = None  # what a `use` step stands for
    children: tuple[StepEntry, ...] = ()  # the steps of the group
    files: SpecFiles | None = None  # where its paths lead, in another file than the spec
    used_in: int | None = None  # the line of the spec that uses the group which this stands in

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "object", "title": "Step"}  # the schema export puts the step types here

    @property
    def family(self) -> Iterator[StepEntry]:
        """It, what it runs in the background, and the steps of the group that it stands for, with theirs."""
        yield self
        for entry in (*((self.inner,) if self.inner is not None else ()), *self.children):
            yield from entry.family

    @property
    def line(self) -> int:
        """Where it begins in its spec, from 1; for a step of a group, where that is used."""
        return self.used_in if self.used_in is not None else self.source.line(self.where)

    @property
    def path(self) -> str:
        """Where it stands in its spec: `tests[2].steps[0]`."""
        return format_path(self.where)

    @property
    def place(self) -> str:
        """Where it begins, for people: `line 12`, or `file:12` for another file than its list's."""
        return self.source.place(self.where)

    @property
    def title(self) -> str:
        """Its name or a few words, as far as they can be said before it's bound."""
        if self.draft is not None:
            return self.draft.title
        name = self.raw.get("name")
        return name if isinstance(name, str) else self.key

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """The names of its outputs."""
        outputs = self.raw.get("outputs")
        if outputs is None and self.group is not None:
            return tuple(self.group.outputs)
        return tuple(outputs) if isinstance(outputs, dict) else ()

    @cached_property
    def is_dynamic(self) -> bool:
        """Whether it has expressions to fill in."""
        return has_expression(self.raw)

    @cached_property
    def expressions(self) -> tuple[str, ...]:
        """The paths of its expressions, its foreach and if included."""
        return tuple(find_expressions(self.raw))

    def condition(self, scope: Mapping[str, Any]) -> Condition | None:
        """Its `if` with values, to be asked before the rest is bound; None if it has none."""
        if "if" not in self.raw:
            return None
        resolved = self._resolve({"if": self.raw["if"]}, scope)
        return _validated(self, Condition, resolved["if"], ("if",))

    def required(self, scope: Mapping[str, Any]) -> tuple[str, ...]:
        """The capabilities without which it's left out."""
        if "requires" not in self.raw:
            return ()
        resolved = self._resolve({"requires": self.raw["requires"]}, scope)
        return _validated(self, StepFields, resolved, ()).requires

    def items(self, scope: Mapping[str, Any]) -> list[Any] | Places:
        """What its `foreach` goes over: a list, or what to look for; StepInvalid if it's neither."""
        if self.foreach is None:
            return []
        found = self._resolve({"foreach": self.raw["foreach"]}, scope)["foreach"]["in"]
        if isinstance(self.raw["foreach"]["in"], dict):
            return _validated(self, Places, found, ("foreach", "in"))
        if isinstance(found, Mapping):
            return [{"key": key, "value": value} for key, value in found.items()]
        if not isinstance(found, list):
            raise StepInvalid([self.problem(("foreach", "in"), "not a list")])
        return found

    def bind(self, scope: Mapping[str, Any]) -> BoundStep:
        """The step with its expressions filled in from a scope; StepInvalid, with positions, where that can't be."""
        if not self.is_dynamic and self.draft is not None:
            return self.draft
        resolved = self._resolve(dict(self.raw), scope)
        return self._bound(resolved)

    def problem(self, path: Path, message: str, *, key: bool = False, hint: str | None = None) -> Problem:
        """A problem of this step, at a path below it."""
        return self.source.problem_at((*self.where, *path), message, key=key, hint=hint)

    def _resolve(self, raw: dict[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
        """Fill the expressions in, each value by itself so that a problem has its place."""
        problems: list[Problem] = []
        resolved = self._filled(raw, scope, (), problems)
        if problems:
            raise StepInvalid(problems)
        return resolved  # type: ignore[no-any-return]  # a dict in, a dict out

    def _filled(self, value: Any, scope: Mapping[str, Any], path: Path, problems: list[Problem]) -> Any:
        match value:
            case dict():
                return {key: self._filled(child, scope, (*path, key), problems) for key, child in value.items()}
            case list():
                return [self._filled(child, scope, (*path, index), problems) for index, child in enumerate(value)]
            case str() if "${{" in value:
                try:
                    return resolve(value, scope)
                except ExpressionError as error:
                    problems.append(self.problem(path, error.message))
        return value

    def _bound(self, resolved: Mapping[str, Any]) -> BoundStep:
        step, fields, problems = build(self.type, self.key, resolved, self.where, self.source, lenient=False)
        if step is None or fields is None or problems:
            raise StepInvalid(problems)
        return BoundStep(step=step, fields=fields)


def _validated(entry: StepEntry, model: type[_M], value: Any, path: Path) -> _M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = problems_of(error, value, (*entry.where, *path), entry.source, adapter=model)
        raise StepInvalid(found) from error


def build(
    kind: type[Step], key: str, raw: Mapping[str, Any], where: Path, source: Source, *, lenient: bool
) -> tuple[Step | None, StepFields | None, list[Problem]]:
    """The step and its common fields from their values, with what is wrong; `lenient` passes over values with expressions."""
    fields, problems = _common_fields(key, raw, where, source, lenient)
    body, short = body_of(kind, raw[key])
    try:
        return kind.model_validate(body), fields, problems
    except ValidationError as error:
        elsewhere = {**dict.fromkeys(COMMON_NAMES, f'it stands beside "{key}", not in it'), **kind.misplaced}
        found = problems_of(
            error, body, (*where, key), source, adapter=kind, lenient=lenient, short=short, elsewhere=elsewhere,
            sample=f"{key}: {SAMPLES[key]}" if key in SAMPLES else None,
        )  # fmt: skip
        return None, fields, problems + [_with_fields(each, kind, body) for each in found]


def _with_fields(problem: Problem, kind: type[Step], body: Any) -> Problem:
    """A problem of a field that the type doesn't have, with few types that have it, or else with those that there are."""
    name = problem.where.rpartition(".")[2]
    if problem.hint or problem.message != "unknown field" or not isinstance(body, Mapping) or name not in body:
        return problem
    types = [key for key, other in STEPS.items() if name in _names(other)]
    if types and len(types) <= _FEW:
        return replace(problem, hint=f"{_listed(types)} {'has' if len(types) == 1 else 'have'} it")
    return replace(problem, hint=f"there are: {', '.join(_names(kind))}")


def _names(kind: type[Step]) -> list[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _common_fields(
    key: str, raw: Mapping[str, Any], where: Path, source: Source, lenient: bool
) -> tuple[StepFields | None, list[Problem]]:
    common = {name: value for name, value in raw.items() if name in COMMON_NAMES}
    try:
        return StepFields.model_validate(common), []
    except ValidationError as error:
        return None, problems_of(error, common, where, source, adapter=StepFields, lenient=lenient)


def body_of(kind: type[Step], written: Any) -> tuple[Any, str | None]:
    """The fields of a step; a bare scalar or list stands for its short field, whose name is the second value."""
    if isinstance(written, dict):
        return written, None
    if written is None:
        return {}, None
    return ({kind.short_field: written}, kind.short_field) if kind.short_field else (written, None)

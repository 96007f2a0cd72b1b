"""What the reference says about step types and sections of a spec: their texts, fields, types and defaults, as the models have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from koalesce.durations import PATTERN as DURATION
from koalesce.matching.operators import OPERATORS
from koalesce.spec.fields import StepFields
from koalesce.spec.models import Spec
from koalesce.spec.schema import PLACES, definitions_by_model, field_alias, object_form
from koalesce.spec.shared_models import SharedFile
from koalesce.steps import STEPS
from koalesce.steps.base import Action, Assertion, Background, Course, Step

Kind = Literal["action", "assertion", "background", "course", "group"]

MATCHERS = ("Matcher", "TextMatcher")  # models that have a page of their own
COMMON, WHOLE = "StepFields", "Spec"
_STEP = "Step"
_PLAIN = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "map",
    "array": "list",
    "null": "null",
}
_OPERATOR_FIELDS = frozenset(OPERATORS) | {"match"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldText:
    """One field. `type` is in words, in which models stand as `{Name}`; `default` is as it would be written, empty if there is none."""

    name: str
    type: str
    text: str
    default: str = ""
    required: bool = False

    @property
    def models(self) -> list[str]:
        """The names of the models in its type."""
        return [part.partition("}")[0] for part in self.type.split("{")[1:]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelText:
    """A model: its name, what it is, its fields; `matches`: it also has the operators of a matcher as fields."""

    name: str
    text: str
    fields: tuple[FieldText, ...]
    matches: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepText:
    """A step type: `short` is the field that a bare value stands for."""

    key: str
    kind: Kind
    model: ModelText
    short: str | None = None


class Reference:
    """All of it, read from the models once."""

    def __init__(self) -> None:
        references, self._definitions = definitions_by_model()
        self._names = {model: place.rsplit("/", 1)[-1] for model, place in references.items()}

    def step(self, key: str) -> StepText:
        """The step type of a key; KeyError if there is none."""
        step = STEPS[key]
        short = None if step.short_field is None else field_alias(step, step.short_field)
        return StepText(key=key, kind=_kind(step), model=self.model(self._names[step]), short=short)

    def common(self) -> ModelText:
        """The fields that any step may have beside its type."""
        return self.model(self._names[StepFields])

    def spec(self) -> ModelText:
        """A spec as a whole."""
        return self.model(self._names[Spec])

    def groups(self) -> ModelText:
        """A file with groups of steps as a whole."""
        return self.model(self._names[SharedFile])

    def model(self, name: str) -> ModelText:
        """A model by its name in the schema; the operators of a matcher aren't repeated in those that have more fields than they."""
        schema = self._object(name)
        properties: Mapping[str, Any] = schema.get("properties", {})
        has_operators = name not in MATCHERS and set(properties) >= _OPERATOR_FIELDS
        required = schema.get("required", ())
        fields = [
            _field(each, place, required=each in required)
            for each, place in properties.items()
            if not (has_operators and each in _OPERATOR_FIELDS)
        ]
        ordered = sorted(fields, key=lambda each: not each.required)
        text = unwrapped(str(schema.get("description") or self._definitions[name].get("description", "")))
        return ModelText(name=name, text=text, fields=tuple(ordered), matches=has_operators)

    def below(self, models: Sequence[ModelText], without: Sequence[str] = ()) -> list[ModelText]:
        """The models that the fields of models lead to, each once, in the order in which they come up; matchers and steps left out."""
        found = {model.name: model for model in models}
        waiting = list(models)
        while waiting:
            for each in waiting.pop(0).fields:
                for name in each.models:
                    if name not in found and name not in (*MATCHERS, _STEP, *without):
                        found[name] = self.model(name)
                        waiting.append(found[name])
        return [model for name, model in found.items() if model not in models]

    def _object(self, name: str) -> Mapping[str, Any]:
        """The form of a model that has its fields, where it may be written in others too."""
        found: Mapping[str, Any] = object_form(self._definitions[name])
        return found


def _field(name: str, schema: Mapping[str, Any], *, required: bool) -> FieldText:
    default = "" if "default" not in schema else _written(schema["default"])
    text = unwrapped(str(schema.get("description", "")))
    return FieldText(name=name, type=type_of(schema), text=text, default=default, required=required)


def type_of(schema: Mapping[str, Any]) -> str:
    """A schema in a few words; models in braces."""
    if "$ref" in schema:
        return f"{{{schema['$ref'].rsplit('/', 1)[-1]}}}"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_of(branch) for branch in schema["anyOf"] if not _is_open(branch)))
    if "enum" in schema:
        return ", ".join(f"`{_written(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{_written(schema['const'])}`"
    kind = schema.get("type")
    if schema in PLACES:
        return f"{{{schema['title']}}}"
    if kind == "array":
        return f"list of {type_of(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"map of {type_of(inner)}" if isinstance(inner, Mapping) and inner else "map"
    if schema.get("pattern") == DURATION:
        return "duration"
    return _PLAIN.get(str(kind), "any value")


def unwrapped(text: str) -> str:
    """A docstring with its lines joined; empty lines, lists and indented parts stay."""
    lines: list[str] = []
    for line in (line.rstrip() for line in text.splitlines()):
        goes_on = bool(lines) and bool(lines[-1]) and bool(line) and not line.startswith(("- ", " ", "|", "* "))
        if goes_on and not lines[-1].startswith((" ", "|")):
            lines[-1] += " " + line
        else:
            lines.append(line)
    return "\n".join(lines).strip()


def _is_open(schema: Mapping[str, Any]) -> bool:
    """Whether a branch only says that other forms are taken too, which the texts tell."""
    return isinstance(schema.get("type"), list)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _kind(step: type[Step]) -> Kind:
    if issubclass(step, Background):
        return "background"
    if issubclass(step, Course):
        return "course"
    if issubclass(step, Action) or step.writes:
        return "action"
    return "assertion" if issubclass(step, Assertion) else "group"

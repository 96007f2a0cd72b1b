"""The JSON Schema of specs and of files with step groups, in the shape that editors complete best: a step is one flat object."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import itertools
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from koalesce.durations import Duration
from koalesce.models import WholeSchema
from koalesce.spec.fields import StepFields
from koalesce.spec.models import API_VERSION, Spec
from koalesce.spec.shared_models import SharedFile
from koalesce.steps import STEPS
from koalesce.steps.base import Step
from koalesce.steps.inside.moments import Since

_ID = "https://koalesce.dev/schemas/{kind}.schema.json"
_STEP = "#/$defs/Step"
PLACES = tuple({"type": "object", "title": name} for name in ("Step", "Component"))  # what stands for a definition
_OR_EXPRESSION = {"$ref": "#/$defs/Expression"}
_EXPRESSION = {"type": "string", "pattern": r"\$\{\{", "description": "An expression, filled in before its step."}


KINDS: Mapping[str, tuple[type[BaseModel], str]] = {  # what a file may be
    "spec": (Spec, "Koalesce spec"),
    "steps": (SharedFile, "Koalesce step groups"),
}


def schema_text(kind: str = "spec") -> str:
    """The schema as it's written to a file; `kind` is one of KINDS."""
    return json.dumps(file_schema(kind), indent=2, ensure_ascii=False, sort_keys=False) + "\n"


def file_schema(kind: str = "spec") -> dict[str, Any]:
    """The JSON Schema (2020-12) of a file of a kind."""
    model, title = KINDS[kind]
    references, definitions = definitions_by_model()
    root = definitions.pop(_name(references[model]))
    fields = definitions.pop(_name(references[StepFields]))
    definitions = {name: _with_expressions(_pointed(schema)) for name, schema in definitions.items()}
    definitions["Step"] = _with_expressions(_pointed(_step_schema(references, definitions, fields)))
    definitions["Expression"] = _EXPRESSION
    root = {key: value for key, value in _pointed(root).items() if key != "title"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": _ID.format(kind=kind),
        "title": f"{title} ({API_VERSION})",
        **root,
        "$defs": {name: definitions[name] for name in sorted(_reached(root, definitions))},
    }


def _reached(schema: Any, definitions: Mapping[str, Any]) -> set[str]:
    """The definitions that a schema leads to."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        names = {_name(place) for place in _references(waiting.pop())} - found
        found |= names
        waiting += [definitions[name] for name in names]
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
        yield schema["$ref"]
    for child in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _references(child)


def definitions_by_model() -> tuple[dict[type[BaseModel], str], dict[str, Any]]:
    """Where the schema of each model is, and all schemas by name; both are the caller's own."""
    return copy.deepcopy(_definitions((Spec, SharedFile, StepFields, *STEPS.values())))


@functools.cache
def _definitions(models: tuple[type[BaseModel], ...]) -> tuple[dict[type[BaseModel], str], dict[str, Any]]:
    found, schema = models_json_schema(
        [(model, "validation") for model in models], by_alias=True, schema_generator=_Generator
    )
    return {model: found[model, "validation"]["$ref"] for model in models}, schema["$defs"]


def _name(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]


def object_form(schema: Any) -> Any:
    """The form of a model that has its fields, where a validator takes others too."""
    return next((branch for branch in schema.get("anyOf", ()) if "properties" in branch), schema)


_ALL_TYPES = ("string", "integer", "number", "boolean", "array", "object")


class _Generator(WholeSchema):
    """Knows what pydantic can't say: values in another form that a validator turns into the one that is declared."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """A model's fields have their docstrings as descriptions."""
        result = super().model_schema(schema)
        fields = object_form(result)
        if (
            fields is not result
        ):  # other forms are taken too: what is said about properties goes to the form that has them
            fields["additionalProperties"] = result.pop("additionalProperties", True)
        docs = field_docstrings(schema["cls"])
        for name, field in schema["cls"].model_fields.items():
            place = fields.get("properties", {}).get(field.alias or name)
            if place is not None and name in docs:
                place.setdefault("description", docs[name])
        return result

    def function_before_schema(self, schema: Any) -> dict[str, Any]:
        """The declared form, or any value of another JSON type."""
        result = super().function_before_schema(schema)
        resolved = self.resolve_ref_schema(result) if "$ref" in result else result
        own = resolved.get("type")
        if own is None or "json_schema_input_schema" in schema:
            return result
        known = {own} if isinstance(own, str) else set(own)
        known |= {"integer"} if "number" in known else set()
        return {"anyOf": [result, {"type": [name for name in _ALL_TYPES if name not in known]}]}

    def default_schema(self, schema: Any) -> dict[str, Any]:
        """Empty defaults go without saying."""
        result = super().default_schema(schema)
        if "default" in result and result["default"] in ({}, [], None, ""):
            del result["default"]
        return result

    def encode_default(self, dft: Any) -> Any:
        """Durations as they are written."""
        return str(dft) if isinstance(dft, Duration | Since) else super().encode_default(dft)

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        """A field that may be left out isn't one to write null into."""
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Editors show the name of a field; a title made of it is noise."""
        return False


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below the fields of a model and of those that it inherits from, by field."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _own_docstrings(base)
    return found


@functools.cache
def _own_docstrings(model: type[BaseModel]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _step_schema(
    references: dict[type[BaseModel], str], definitions: dict[str, Any], fields: dict[str, Any]
) -> dict[str, Any]:
    """One object with every type's key and the common fields; exactly one type."""
    properties = {
        key: _type_property(kind, references[kind], definitions[_name(references[kind])]) for key, kind in STEPS.items()
    }
    return {
        "type": "object",
        "title": "A step",
        "description": "One step: exactly one type, and the common fields beside it.",
        "properties": properties | fields["properties"],
        "additionalProperties": False,
        "oneOf": [{"required": [key]} for key in STEPS],
    }


def _type_property(kind: type[Step], reference: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The value of a type's key: its fields, or what its short form stands for."""
    text = (kind.__doc__ or "").strip()
    described = {"description": text.split("\n\n")[0].replace("\n", " "), "markdownDescription": _unindented(text)}
    if kind.short_field is None:
        return {"$ref": reference, **described}
    short = object_form(schema)["properties"][field_alias(kind, kind.short_field)]
    return {
        "anyOf": [{key: value for key, value in short.items() if key != "description"}, {"$ref": reference}],
        **described,
    }


def field_alias(kind: type[Step], name: str) -> str:
    """The name in specs of a field that is given by its name there, or by its name in Python."""
    field = kind.model_fields.get(name)
    return (field.alias or name) if field is not None else name


def _unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


def _pointed(value: Any) -> Any:
    """The schema with each place for a step or a component pointing to the one definition of it."""
    if isinstance(value, list):
        return [_pointed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value in PLACES:
        return {"$ref": f"#/$defs/{value['title']}"}
    return {key: _pointed(child) for key, child in value.items()}


def _with_expressions(value: Any) -> Any:
    """The schema with `${{ }}` allowed wherever a property wants something else than a text."""
    if isinstance(value, list):
        return [_with_expressions(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_expressions(child) for key, child in value.items()}
    if isinstance(found.get("properties"), dict):
        found["properties"] = {name: _or_expression(child) for name, child in found["properties"].items()}
    return found


def _or_expression(schema: Any) -> Any:
    """One property's schema, or an expression; lists of steps and plain texts stay as they are."""
    if not isinstance(schema, dict) or _takes_texts(schema) or _STEP in json.dumps(schema):
        return schema
    kept = {key: schema[key] for key in ("description", "markdownDescription", "default", "title") if key in schema}
    inner = {key: child for key, child in schema.items() if key not in kept}
    alternatives = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {**kept, "anyOf": [*alternatives, _OR_EXPRESSION]}


def _takes_texts(schema: dict[str, Any]) -> bool:
    """Whether a text of any form fits already."""
    if not ({"type", "$ref", "anyOf", "enum", "const", "oneOf", "allOf"} & set(schema)):
        return True
    if schema.get("type") == "string":
        return not {"pattern", "enum", "const"} & set(schema)
    return any(isinstance(branch, dict) and _takes_texts(branch) for branch in schema.get("anyOf", ()))

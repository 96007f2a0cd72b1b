"""The JSON Schema of specs, in the shape that editors complete best: a step is one flat object of all types' keys."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from koalesce.spec.fields import StepFields
from koalesce.spec.models import API_VERSION, Spec
from koalesce.spec.supported import PLANNED_STEP_TYPES
from koalesce.steps import STEPS
from koalesce.steps.base import Step

_ID = "https://koalesce.dev/schemas/spec.schema.json"
_STEP = "#/$defs/Step"
_EXPRESSION = {"type": "string", "pattern": r"\$\{\{", "title": "expression"}
# A text can be an expression already, and keywords that only steer others can't have an alternative beside them.
_TYPED = ("integer", "number", "boolean", "array", "object")


def schema_text() -> str:
    """The schema as it's written to a file."""
    return json.dumps(spec_schema(), indent=2, ensure_ascii=False, sort_keys=False) + "\n"


def spec_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a spec."""
    schema = Spec.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions: dict[str, Any] = schema.pop("$defs", {})
    definitions |= _step_definitions()
    definitions["Step"] = _step_schema()
    del definitions["StepFields"]
    body = _with_expressions(_pointed(schema))
    body["properties"] = {name: body["properties"][name] for name in schema["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": _ID,
        **body,
        "title": f"Koalesce spec ({API_VERSION})",
        "$defs": {name: _with_expressions(_pointed(definitions[name])) for name in sorted(definitions)},
    }


class _Generator(GenerateJsonSchema):
    """Types that only validate have no schema of their own: anything goes."""

    def default_schema(self, schema: Any) -> dict[str, Any]:
        """The default is told only where JSON can hold it."""
        result = super().default_schema(schema)
        if "default" in result and result["default"] in ({}, [], None):
            del result["default"]
        return result


def _step_definitions() -> dict[str, Any]:
    """The fields of each step type, and whatever they refer to."""
    found: dict[str, Any] = {}
    for kind in (StepFields, *STEPS.values()):
        schema = kind.model_json_schema(by_alias=True, schema_generator=_Generator)
        found |= schema.pop("$defs", {})
        found[kind.__name__] = schema
    return found


def _step_schema() -> dict[str, Any]:
    """One object with every type's key and the common fields; exactly one type."""
    common = StepFields.model_json_schema(by_alias=True, schema_generator=_Generator)
    properties = {key: _type_property(kind) for key, kind in STEPS.items()}
    return {
        "type": "object",
        "title": "Step",
        "description": "One step: exactly one type, and the common fields beside it.",
        "properties": properties | common["properties"],
        "additionalProperties": False,
        "oneOf": [{"required": [key]} for key in (*STEPS, *sorted(PLANNED_STEP_TYPES - set(STEPS)))],
    }


def _type_property(kind: type[Step]) -> dict[str, Any]:
    """The value of a type's key: its fields, or what its short form stands for."""
    text = (kind.__doc__ or "").strip()
    described = {"description": text.split("\n\n")[0].replace("\n", " "), "markdownDescription": _unindented(text)}
    reference: dict[str, Any] = {"$ref": f"#/$defs/{kind.__name__}"}
    if kind.short_field is None:
        return {**reference, **described}
    fields = kind.model_json_schema(by_alias=True, schema_generator=_Generator)["properties"]
    short = fields.get(kind.short_field) or fields[_alias(kind, kind.short_field)]
    return {"anyOf": [{key: value for key, value in short.items() if key != "description"}, reference], **described}


def _alias(kind: type[Step], name: str) -> str:
    return kind.model_fields[name].alias or name


def _unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


def _pointed(value: Any) -> Any:
    """The schema with each place for a step pointing to the one definition of it."""
    if isinstance(value, list):
        return [_pointed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value == {"type": "object", "title": "Step"}:
        return {"$ref": _STEP}
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
    return {**kept, "anyOf": [*alternatives, _EXPRESSION]}


def _takes_texts(schema: dict[str, Any]) -> bool:
    """Whether a text of any form fits already."""
    if not ({"type", "$ref", "anyOf", "enum", "const", "oneOf", "allOf"} & set(schema)):
        return True
    if schema.get("type") == "string":
        return not {"pattern", "enum", "const"} & set(schema)
    return any(isinstance(branch, dict) and _takes_texts(branch) for branch in schema.get("anyOf", ()))

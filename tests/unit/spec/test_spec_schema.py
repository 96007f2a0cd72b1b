"""The JSON Schema of specs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import model_validator

from koalesce.spec.fields import COMMON_NAMES
from koalesce.spec.schema import KINDS, file_schema, object_form, schema_text
from koalesce.steps import STEPS
from koalesce.steps.sleep import Sleep

SCHEMAS = Path(__file__).parents[3] / "schemas"


def inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(child)


@pytest.mark.parametrize("kind", KINDS)
def test_the_committed_schema_is_current(kind: str) -> None:
    assert (SCHEMAS / f"{kind}.schema.json").read_text(encoding="utf-8") == schema_text(kind), (
        f"run: koalesce schema {kind} --output schemas/{kind}.schema.json"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_references_lead_to_all_definitions_and_to_nothing_else(kind: str) -> None:
    schema = file_schema(kind)

    references = {place["$ref"] for place in inside(schema) if isinstance(place.get("$ref"), str)}

    assert references == {f"#/$defs/{name}" for name in schema["$defs"]}
    assert "#/$defs/Step" in references


def test_a_file_of_groups_has_the_steps_and_components_of_specs() -> None:
    spec, groups = file_schema(), file_schema("steps")

    assert groups["properties"]["kind"]["const"] == "Steps"
    assert groups["$defs"]["StepGroup"]["properties"]["steps"]["items"] == {"$ref": "#/$defs/Step"}
    assert groups["properties"]["components"]["items"] == {"$ref": "#/$defs/Component"}
    assert groups["$defs"]["Parameter"]["type"] == ["object", "null"]
    assert groups["$defs"]["Step"] == spec["$defs"]["Step"]
    assert "StepGroup" not in spec["$defs"]


def test_a_step_whose_values_are_read_before_its_fields_has_a_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Sleep, key="sleep"):
        """Sleep."""

        @model_validator(mode="before")
        @classmethod
        def _read(cls, value: Any) -> Any:
            return value

    monkeypatch.setattr("koalesce.spec.schema.STEPS", {**STEPS, "sleep": Odd})
    monkeypatch.setattr("koalesce.spec.schema.field_docstrings", lambda _model: {})

    schema = file_schema()

    assert {"$ref": "#/$defs/Odd"} in schema["$defs"]["Step"]["properties"]["sleep"]["anyOf"]
    assert "duration" in object_form(schema["$defs"]["Odd"])["properties"]


def test_a_step_is_one_flat_object_of_exactly_one_type() -> None:
    step = file_schema()["$defs"]["Step"]

    assert set(step["properties"]) == set(STEPS) | COMMON_NAMES
    assert step["oneOf"] == [{"required": [key]} for key in STEPS]
    assert step["additionalProperties"] is False


def test_fields_have_their_descriptions() -> None:
    schema = file_schema()

    assert schema["properties"]["metadata"]["description"] == "What the spec is called."
    assert schema["$defs"]["Step"]["properties"]["timeout"]["description"] == "By when it must hold, or be done."
    undescribed = {
        f"{name}.{field}"
        for name, definition in schema["$defs"].items()
        for field, property_ in definition.get("properties", {}).items()
        if name in ("ClusterSpec", "Component", "Test", "Setup", "NodeSpec", "Foreach", "Output")
        and "description" not in property_
    }
    assert undescribed == set()


def test_a_typed_field_takes_an_expression_too() -> None:
    definitions = file_schema()["$defs"]

    expression = {"$ref": "#/$defs/Expression"}
    assert expression in definitions["ClusterSpec"]["properties"]["nodes"]["anyOf"]
    assert "anyOf" not in definitions["ClusterSpec"]["properties"]["network"]
    assert json.loads(schema_text()) == file_schema()

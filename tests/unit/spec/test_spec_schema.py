"""The JSON Schema of specs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from koalesce.spec.fields import COMMON_NAMES
from koalesce.spec.schema import schema_text, spec_schema
from koalesce.steps import STEPS

COMMITTED = Path(__file__).parents[3] / "schemas" / "spec.schema.json"


def inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(child)


def test_the_committed_schema_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == schema_text(), (
        "run: koalesce schema --output schemas/spec.schema.json"
    )


def test_every_reference_leads_to_a_definition() -> None:
    schema = spec_schema()

    references = {place["$ref"] for place in inside(schema) if isinstance(place.get("$ref"), str)}

    assert references <= {f"#/$defs/{name}" for name in schema["$defs"]}
    assert "#/$defs/Step" in references


def test_a_step_is_one_flat_object_of_exactly_one_type() -> None:
    step = spec_schema()["$defs"]["Step"]

    assert set(step["properties"]) == set(STEPS) | COMMON_NAMES
    assert step["oneOf"] == [{"required": [key]} for key in STEPS]
    assert step["additionalProperties"] is False


def test_fields_have_their_descriptions() -> None:
    schema = spec_schema()

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
    definitions = spec_schema()["$defs"]

    expression = {"$ref": "#/$defs/Expression"}
    assert expression in definitions["ClusterSpec"]["properties"]["nodes"]["anyOf"]
    assert "anyOf" not in definitions["ClusterSpec"]["properties"]["network"]
    assert json.loads(schema_text()) == spec_schema()

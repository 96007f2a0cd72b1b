"""The JSON schema of a line of an event file, made from the events' own types.

`python -m koalesce.reporters.event_schema > schemas/events.schema.json` brings the file in the repository up to date.
"""

from __future__ import annotations

import json
import sys
from typing import Any, get_args

from pydantic import TypeAdapter

from koalesce.events import FORMAT, AnyEvent


def event_schema() -> dict[str, Any]:
    """The schema: one of the events, told apart by `event`. Unknown fields are allowed, since later versions may add some."""
    kinds = {kind.__name__: _of(kind) for kind in get_args(AnyEvent)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://koalesce.dev/schemas/events.schema.json",
        "title": "A line of an event file of Koalesce",
        "description": f"What happens in a run, one event a line, in order. Format {FORMAT}.",
        "type": "object",
        "required": ["event"],
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": kinds,
    }


def schema_text() -> str:
    """The schema as the file has it."""
    return json.dumps(event_schema(), indent=2, ensure_ascii=False) + "\n"


def _of(kind: type) -> dict[str, Any]:
    schema: dict[str, Any] = _without_titles(TypeAdapter(kind).json_schema(mode="serialization"))
    # `to_json` writes every field, defaults too.
    schema["properties"] = {"event": {"const": kind.__name__}, **schema["properties"]}
    schema["required"] = list(schema["properties"])
    schema["description"] = kind.__doc__
    return schema


def _without_titles(schema: Any) -> Any:
    """The schema without the titles that pydantic derives from names."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)
        }
    return [_without_titles(value) for value in schema] if isinstance(schema, list) else schema


if __name__ == "__main__":
    sys.stdout.write(schema_text())

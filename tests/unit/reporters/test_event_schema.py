from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from koalesce.assets import asset
from koalesce.events import AnyEvent
from koalesce.reporters.event_schema import event_schema, schema_text

RUNS = Path(__file__).parents[2] / "data" / "runs"


def test_the_file_is_up_to_date() -> None:
    assert asset("schemas", "events.schema.json").read_text() == schema_text(), (
        "run: python -m koalesce.reporters.event_schema > schemas/events.schema.json"
    )


def test_every_event_has_its_schema() -> None:
    assert list(event_schema()["$defs"]) == [kind.__name__ for kind in get_args(AnyEvent)]


@pytest.mark.parametrize("run", sorted(RUNS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_recorded_lines_have_the_fields_that_the_schema_names(run: Path) -> None:
    schemas = event_schema()["$defs"]
    for line in run.read_text().splitlines():
        data = json.loads(line)
        schema = schemas[data["event"]]
        assert schema["properties"]["event"] == {"const": data["event"]}
        assert sorted(data) == sorted(schema["required"]) == sorted(schema["properties"])

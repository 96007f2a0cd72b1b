"""The reference as data: step types, sections and fields in words."""

from __future__ import annotations

import pytest

from docs.generator.pages import REFERENCE, pages
from koalesce.cli import exit_codes
from koalesce.spec.reference import FieldText, Reference, type_of, unwrapped
from koalesce.spec.schema import definitions_by_model
from koalesce.steps import STEPS

REFERENCE_TEXT = Reference()


def test_a_step_type_has_its_text_and_its_fields() -> None:
    sleep = REFERENCE_TEXT.step("sleep")

    assert (sleep.key, sleep.kind, sleep.short) == ("sleep", "action", "duration")
    assert sleep.model.text.startswith("Let time pass.")
    assert sleep.model.fields == (FieldText(name="duration", type="duration", text="How long: `5s`.", required=True),)


def test_operators_of_a_matcher_are_not_repeated() -> None:
    jsonpath = REFERENCE_TEXT.step("jsonpath").model

    assert jsonpath.matches
    assert "equals" not in [each.name for each in jsonpath.fields]
    assert "equals" in [each.name for each in REFERENCE_TEXT.model("Matcher").fields]


def test_models_below_are_told_once_each() -> None:
    below = [model.name for model in REFERENCE_TEXT.below([REFERENCE_TEXT.step("curl").model])]

    assert below[0] == "Vantage"
    assert len(below) == len(set(below))
    assert {"Matcher", "TextMatcher", "Step"}.isdisjoint(below)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#/$defs/Vantage"}, "{Vantage}"),
        (
            {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]},
            "whole number or list of text",
        ),
        ({"enum": ["GET", "HEAD"], "type": "string"}, "`GET`, `HEAD`"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "map of number"),
        ({"anyOf": [{"const": True, "type": "boolean"}, {"type": ["string", "object"]}]}, "`true`"),
        ({}, "any value"),
    ],
)
def test_types_are_words(schema: dict[str, object], words: str) -> None:
    assert type_of(schema) == words


def test_lines_are_joined_but_those_of_lists() -> None:
    assert unwrapped("One\ntwo.\n\n- three\n- four\n\nFive\n  six") == "One two.\n\n- three\n- four\n\nFive\n  six"


def test_every_field_has_a_text() -> None:
    without = [
        f"{name}.{each.name}"
        for name in definitions_by_model()[1]
        for each in REFERENCE_TEXT.model(name).fields
        if not each.text
    ]

    assert without == []


def test_the_pages_are_up_to_date() -> None:
    stale = [path.name for path, text in pages().items() if not path.exists() or path.read_text() != text]

    assert stale == [], "run: python -m docs.generator"


def test_no_page_is_of_a_step_that_is_gone() -> None:
    assert {path.stem for path in (REFERENCE / "steps").glob("*.md")} == set(STEPS)


def test_the_page_of_exit_codes_has_all_of_them() -> None:
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    page = (REFERENCE / "exit-codes.md").read_text()
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("|")]

    assert {int(cell) for cell in rows if cell.isdigit()} == codes

"""Models that are built when they are first needed, and what of them must be as if they were built at once."""

from __future__ import annotations

import sys

import pytest
from pydantic import ValidationError

from koalesce.models import Model, WholeSchema


class Inner(Model):
    number: int


class Other(Model):
    word: str


class Outer(Model):
    one: Inner | Other | None = None
    many: tuple[Inner, ...] = ()


def made() -> tuple[type[Model], type[Model]]:
    """A model, and one that has it as a field; neither is built."""

    class Part(Model):
        number: int

    class Whole(Model):
        part: Part | None = None

    return Part, Whole


def test_a_model_is_built_without_those_that_its_fields_are() -> None:
    part, whole = made()

    whole.model_validate({})
    assert (whole.__pydantic_complete__, part.__pydantic_complete__) == (True, False)

    whole.model_validate({"part": {"number": 1}})
    assert part.__pydantic_complete__


def test_what_is_wrong_inside_has_its_whole_place() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"many": [{"number": 1}, {"number": "x", "more": 2}]})

    assert [(each["loc"], each["type"]) for each in caught.value.errors()] == [
        (("many", 1, "number"), "int_parsing"),
        (("many", 1, "more"), "extra_forbidden"),
    ]


def test_of_several_models_the_one_that_fits_is_taken_and_faults_name_their_branch() -> None:
    assert Outer.model_validate({"one": {"word": "x"}}).one == Other(word="x")
    assert Outer.model_validate({"one": Inner(number=3)}).one == Inner(number=3)

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"one": {}})
    assert len({each["loc"][1] for each in caught.value.errors()}) == 2


def test_a_schema_has_a_definition_for_each() -> None:
    schema = Outer.model_json_schema(schema_generator=WholeSchema)

    assert set(schema["$defs"]) == {"Inner", "Other"}
    assert schema["properties"]["many"]["items"] == {"$ref": "#/$defs/Inner"}


def test_values_are_written_as_they_were_read() -> None:
    read = {"one": {"word": "x"}, "many": [{"number": 1}]}

    assert Outer.model_validate(read).model_dump(mode="json", by_alias=True) == read


def test_no_plugin_of_pydantics_is_looked_for() -> None:
    assert list(sys.modules["pydantic.plugin._loader"].get_plugins()) == []

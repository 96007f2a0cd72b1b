"""A file that several specs share, as its author wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, WithJsonSchema, field_validator

from koalesce.spec.common import Identifier, Model, Text

# Read with the spec that uses them; the schema export puts the steps and components of a spec here.
WrittenStep = Annotated[Any, WithJsonSchema({"type": "object", "title": "Step"})]
WrittenComponent = Annotated[Any, WithJsonSchema({"type": "object", "title": "Component"})]


class Parameter(Model):
    """A parameter of a group; without a default whoever uses the group has to give it."""

    default: Any = None
    """Its value where none is given."""

    description: str = ""
    """What it's for."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        handler.resolve_ref_schema(found)["type"] = ["object", "null"]  # `NAME:` alone is a required one
        return found


class StepGroup(Model):
    """Steps to use in several places."""

    description: str = ""
    """What it does."""

    params: Mapping[Identifier, Parameter] = Field(default_factory=dict)
    """Its parameters, for `${{ params.NAME }}` in its steps."""

    steps: list[WrittenStep] = Field(min_length=1)
    """The steps, in order."""

    outputs: Mapping[Identifier, Any] = Field(default_factory=dict)
    """What it gives to the steps after it, usually `${{ outputs.NAME }}` of one of its own steps."""

    @field_validator("params", mode="before")
    @classmethod
    def _nothing_is_required(cls, params: Any) -> Any:
        return (
            {name: {} if said is None else said for name, said in params.items()}
            if isinstance(params, dict)
            else params
        )


class SharedSetup(Model):
    """Steps that come before those of the spec's own setup."""

    steps: list[WrittenStep] = Field(default_factory=list)
    """The steps, in order."""

    on_failure: list[WrittenStep] = Field(default_factory=list)
    """Steps to run when the setup fails, for evidence."""


class SharedFile(Model):
    """A file that several specs share: its groups are for `use`, the rest for `include`."""

    api_version: Literal["koalesce.dev/v1alpha1"]
    """The version of the spec language."""

    kind: Literal["Steps"]
    """Always Steps."""

    include: tuple[Text, ...] = ()
    """More such files, relative to this one."""

    vars: Mapping[Identifier, Any] = Field(default_factory=dict)
    """Variables, for `${{ vars.NAME }}` in the specs that include it."""

    components: list[WrittenComponent] = Field(default_factory=list)
    """What to install, as in a spec; before the components of the spec itself."""

    setup: SharedSetup = Field(default_factory=SharedSetup)
    """What happens once, before the spec's own setup."""

    groups: Mapping[Identifier, StepGroup] = Field(default_factory=dict)
    """Groups of steps, by name."""

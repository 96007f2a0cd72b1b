"""What models of what users write have in common: how they read YAML, and that each is built alone, when it's first needed."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

_MODEL = "koalesce_model"

_BUILT: ContextVar[type[BaseModel] | None] = ContextVar("_BUILT", default=None)

# No plugin of pydantic's that happens to be installed is to see, or change, what specs say; and its search for them costs a tenth of a
# short command. The setting for that (PYDANTIC_DISABLE_PLUGINS) is of the environment, which would pass it on to all that specs start.
_NO_PLUGINS = ModuleType("pydantic.plugin._loader")
_NO_PLUGINS.get_plugins = lambda: ()  # type: ignore[attr-defined]  # a module's attribute
sys.modules.setdefault(_NO_PLUGINS.__name__, _NO_PLUGINS)


class Model(BaseModel):
    """What users write: camelCase in YAML, unknown fields refused, frozen once read.

    A field's docstring below it is its description (`koalesce.spec.schema` reads it: pydantic would at each start). A model whose
    fields are models doesn't build theirs with its own, as pydantic would: few of them are written in any one spec, and building
    all costs several times what reading the spec does.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        arbitrary_types_allowed=True,
        defer_build=True,
    )

    @classmethod
    def model_rebuild(cls, **options: Any) -> bool | None:
        """Build this model, and none of those that its fields are."""
        token = _BUILT.set(cls)
        try:
            return super().model_rebuild(**options)
        finally:
            _BUILT.reset(token)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """The whole of it where it's built itself; as a field of another one only how to ask it."""
        if _BUILT.get() is cls:
            _BUILT.set(None)
            return handler(source)
        return _asked_later(cls)


def _asked_later(model: type[Model]) -> Any:
    def validate(value: Any) -> Any:
        return model.model_validate(value)  # its errors get the place of the field before theirs

    validate.__name__ = validate.__qualname__ = model.__name__  # tells the branches of a union apart
    return core_schema.no_info_plain_validator_function(validate, metadata={_MODEL: model})


class WholeSchema(GenerateJsonSchema):
    """Makes JSON Schemas in which the models that fields are have definitions of their own."""

    def generate_inner(self, schema: Any) -> dict[str, Any]:
        """The schema of a part; where a model is asked later, of that model."""
        model: type[Model] | None = schema.get("metadata", {}).get(_MODEL)
        if model is None:
            return super().generate_inner(schema)
        if not model.__pydantic_complete__:
            model.model_rebuild()
        return super().generate_inner(model.__pydantic_core_schema__)

"""`namespace` and `namespaces`: where a test's objects live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictStr

from koalesce.expressions import has_expression
from koalesce.spec.common import Model, as_object_name


def _name(text: str) -> str:
    return text if has_expression(text) else as_object_name(text)


class NamespaceSpec(Model):
    """A namespace: made for the test and removed with it, or, where one of its name is there already, used as it is."""

    name: Annotated[StrictStr, AfterValidator(_name)] | None = Field(default=None, examples=["team-${{ matrix.team }}"])
    """Its name, expressions included; by default one that no other test has. One that is there already is neither changed nor removed."""

    labels: Mapping[str, str] = Field(default_factory=dict)
    """Its labels."""

    annotations: Mapping[str, str] = Field(default_factory=dict)
    """Its annotations."""

    pod_security: Literal["privileged", "baseline", "restricted"] | None = None
    """The Pod Security level that is enforced in it."""

"""Types that the models of a spec share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr

from koalesce.capabilities import CAPABILITIES
from koalesce.durations import Duration
from koalesce.expressions import has_expression
from koalesce.models import Model
from koalesce.patterns import pattern
from koalesce.steps.identifier import Identifier
from koalesce.yaml.problems import did_you_mean

__all__ = [
    "Capability",
    "Count",
    "Flag",
    "Identifier",
    "KnownCapability",
    "Model",
    "Name",
    "ObjectName",
    "PositiveDuration",
    "Text",
    "as_object_name",
]

DNS_LABEL = pattern(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def as_object_name(text: str) -> str:
    """The text, if Kubernetes takes it as the name of an object; ValueError otherwise."""
    if not DNS_LABEL.fullmatch(text):
        raise ValueError(f'"{text}" is no name that Kubernetes takes: lower-case letters, digits and "-", at most 63')
    return text


def _name(text: str) -> str:
    if "\n" in text or text != text.strip():
        raise ValueError("a name is one line without spaces around it")
    return text


def _positive(duration: Duration) -> Duration:
    if duration.seconds <= 0:
        raise ValueError("must be more than 0")
    return duration


Flag = StrictBool
Text = Annotated[StrictStr, Field(min_length=1)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=200), AfterValidator(_name)]
ObjectName = Annotated[StrictStr, AfterValidator(as_object_name), Field(pattern=None, examples=["kube-router"])]
Count = Annotated[StrictInt, Field(ge=0)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


def _known_capability(name: str) -> str:
    if name not in CAPABILITIES:
        hint = did_you_mean(name, CAPABILITIES) or f"there are: {', '.join(CAPABILITIES)}"
        raise ValueError(f'no cluster has a capability "{name}"; {hint}')
    return name


def _perhaps_a_capability(name: str) -> str:
    return name if has_expression(name) else _known_capability(name)


KnownCapability = Annotated[Text, AfterValidator(_known_capability)]
Capability = Annotated[Text, AfterValidator(_perhaps_a_capability)]  # or an expression, which a step fills in

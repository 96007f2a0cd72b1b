"""The settings of the provider local: what can be said of clusters on this machine that no other has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from koalesce.models import Model


class LocalSettings(Model):
    """What clusters on this machine are like."""

    timeout: Annotated[float, Field(gt=0)] = 180.0
    """Seconds in which the cluster has to come up; more on a machine that is slow, as one with emulated processors is."""


def of_settings(settings: Mapping[str, Any]) -> LocalSettings:
    """Those of a spec's `providers.local`; UsageError for what is wrong with them."""
    try:
        return LocalSettings.model_validate(settings)
    except ValidationError as error:
        from koalesce.refusals import refusal

        hint = "for example: providers: {local: {timeout: 600}}"
        raise refusal(error, "providers.local", LocalSettings, hint=hint) from error

"""The settings of the provider qemu: what its virtual machines are like where a spec's nodes don't say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from koalesce.models import Model


class VmSettings(Model):
    """What virtual machines are like."""

    processors: Annotated[int, Field(strict=True, ge=1, le=64)] = 2
    """How many processors a machine has whose node says no `cpu`."""

    mebibytes: Annotated[int, Field(strict=True, ge=1024)] = 2048
    """How much memory a machine has whose node says no `memory`."""

    accelerator: Literal["kvm", "tcg"] | None = None
    """How machines run: by `kvm`, or translated (`tcg`); default: by kvm where the processor helps."""


def of_settings(settings: Mapping[str, Any]) -> VmSettings:
    """Those of a spec's `providers.qemu`; UsageError for what is wrong with them."""
    try:
        return VmSettings.model_validate(settings)
    except ValidationError as error:
        from koalesce.refusals import refusal

        hint = "for example: providers: {qemu: {processors: 2, mebibytes: 2048}}"
        raise refusal(error, "providers.qemu", VmSettings, hint=hint) from error

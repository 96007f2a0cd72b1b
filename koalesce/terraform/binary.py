"""Finds Terraform or OpenTofu."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from koalesce.errors import ProvisionError

NAMES = ("terraform", "tofu")
VARIABLE = "KOALESCE_TERRAFORM"


def find_binary(environment: Mapping[str, str] = os.environ) -> Path:
    """The `terraform` to run: `$KOALESCE_TERRAFORM`, else `terraform` or `tofu` of the PATH; ProvisionError if none."""
    chosen = environment.get(VARIABLE)
    for name in (chosen,) if chosen else NAMES:
        if found := shutil.which(name, path=environment.get("PATH")):
            return Path(found).absolute()
    what = f"${VARIABLE} is {chosen}, which is no program" if chosen else "neither terraform nor tofu is on the PATH"
    raise ProvisionError(
        f"Terraform is missing: {what}",
        hint="install Terraform (https://developer.hashicorp.com/terraform/install) or OpenTofu (https://opentofu.org)",
    )


def find_problem() -> str | None:
    """A sentence if there is no Terraform to run."""
    try:
        find_binary()
    except ProvisionError as error:
        return f"{error.message} ({error.hint})"
    return None

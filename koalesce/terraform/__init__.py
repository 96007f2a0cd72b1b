"""Drives Terraform (or OpenTofu), and checks that a root keeps the contract of cluster providers."""

from __future__ import annotations

from koalesce.terraform.binary import find_binary
from koalesce.terraform.client import Terraform
from koalesce.terraform.contract import ContractError, check_outputs
from koalesce.terraform.events import Diagnostic, TerraformEvent

__all__ = ["ContractError", "Diagnostic", "Terraform", "TerraformEvent", "check_outputs", "find_binary"]

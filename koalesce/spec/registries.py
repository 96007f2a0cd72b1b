"""Registries in a spec that ask who is there."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from koalesce.errors import UsageError
from koalesce.spec.common import Model, Text
from koalesce.toolchain.reference import Reference


def _registry(name: str) -> str:
    try:
        is_domain = Reference.parse(f"{name}/image").domain == name
    except UsageError:
        is_domain = False
    if not is_domain:
        raise ValueError(
            f'"{name}" is no registry; write what references of its images begin with: registry.example.com'
        )
    return name


def _user(name: str) -> str:
    if ":" in name:
        raise ValueError("the name of a user has no colon")
    return name


RegistryName = Annotated[Text, AfterValidator(_registry)]


class RegistryUser(Model):
    """Who may pull from a registry."""

    username: Annotated[Text, AfterValidator(_user)]
    """The name of the one user."""

    password: Text
    """The password, which is made up for the test: it protects nothing."""

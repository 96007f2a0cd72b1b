"""Latitude.sh: bare metal by the hour."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from koalesce.providers.cloud import Cloud
from koalesce.providers.cloud_options import CloudOptions, Word


class LatitudeshOptions(CloudOptions):
    """What can be said of it in `cluster.providers.latitudesh`."""

    project: Word
    """The project in which servers are made, by its id or slug; one that is billed on demand."""

    site: Word = "FRA"
    """Where servers are."""

    plan: Word = "m4-metal-medium"
    """The kind of each server."""

    operating_system: Word = "debian_12"
    """What is installed on them."""

    timeout: Annotated[float, Field(gt=0)] = 1800.0
    """Seconds for each thing that is awaited: machines of metal take minutes to boot."""


CLOUD = Cloud(
    name="latitudesh",
    title="Latitude.sh",
    options=LatitudeshOptions,
    credentials={"LATITUDESH_AUTH_TOKEN": "an API key of your team (latitude.sh/dashboard, API keys)"},
)

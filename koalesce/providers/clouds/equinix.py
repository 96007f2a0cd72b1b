"""Equinix Metal, which was Packet before: where Koalesce comes from. It ended on 30 June 2026."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from koalesce.providers.cloud import Cloud
from koalesce.providers.cloud_options import CloudOptions, Word


class EquinixOptions(CloudOptions):
    """What can be said of it in `cluster.providers.equinix`."""

    project: Word
    """The project in which devices are made, by its id."""

    metro: Word = "am"
    """Where devices are."""

    plan: Word = "c3.small.x86"
    """The kind of each device."""

    operating_system: Word = "debian_12"
    """What is installed on them."""

    timeout: Annotated[float, Field(gt=0)] = 1800.0
    """Seconds for each thing that is awaited: machines of metal take minutes to boot."""


CLOUD = Cloud(
    name="equinix",
    title="Equinix Metal",
    options=EquinixOptions,
    credentials={"METAL_AUTH_TOKEN": "an API token of your project or of yours"},
    ended="Equinix Metal was switched off on 30 June 2026; the provider latitudesh is the closest to it",
)

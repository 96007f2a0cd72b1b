"""DigitalOcean: droplets from stock images, billed by the time that they exist."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from koalesce.providers.cloud import Cloud
from koalesce.providers.cloud_options import CloudOptions, Network, Word


class DigitalOceanOptions(CloudOptions):
    """What can be said of it in `cluster.providers.digitalocean`."""

    region: Word = "fra1"
    """Where droplets are."""

    size: Word = "s-2vcpu-4gb"
    """The kind of each droplet."""

    image: Word = "debian-12-x64"
    """The system that they boot."""

    node_cidr: Annotated[Network, Field(alias="nodeCIDR")] = "10.80.0.0/24"
    """The range of their private addresses; no other network of the account may overlap it."""


CLOUD = Cloud(
    name="digitalocean",
    title="DigitalOcean",
    options=DigitalOceanOptions,
    credentials={
        "DIGITALOCEAN_TOKEN": "an API token that may read and write (cloud.digitalocean.com, API, Personal access tokens)"
    },
)

"""Hetzner Cloud: servers from stock images, billed by the hour."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from koalesce.providers.cloud import Cloud
from koalesce.providers.cloud_options import CloudOptions, Network, Word


class HcloudOptions(CloudOptions):
    """What can be said of it in `cluster.providers.hcloud`."""

    location: Word = "nbg1"
    """Where servers are: nbg1, fsn1, hel1, ash, hil or sin."""

    server_type: Word = "cx23"
    """The kind of each server; its processor is of this machine's architecture."""

    image: Word = "debian-12"
    """The system that they boot."""

    node_cidr: Annotated[Network, Field(alias="nodeCIDR")] = "10.80.0.0/24"
    """The range of their private addresses."""


CLOUD = Cloud(
    name="hcloud",
    title="Hetzner Cloud",
    options=HcloudOptions,
    credentials={
        "HCLOUD_TOKEN": "an API token of your project that may read and write (console.hetzner.com, Security, API tokens)"
    },
)

"""AWS: instances of EC2 in a network of their own, billed by the second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StrictInt

from koalesce.providers.cloud import Cloud
from koalesce.providers.cloud_options import CloudOptions, Network, Word

if TYPE_CHECKING:
    from koalesce.providers.cloud_api import CloudApi


class AwsOptions(CloudOptions):
    """What can be said of it in `cluster.providers.aws`."""

    region: Word = "eu-central-1"
    """Where instances are."""

    zone: Word | Literal[""] = ""
    """Availability zone in the region; left out, AWS chooses."""

    instance_type: Word = "t3.medium"
    """The kind of each instance."""

    architecture: Literal["amd64", "arm64"] = "amd64"
    """Of their processors, which has to be this machine's."""

    image: Word | Literal[""] = ""
    """An AMI with cloud-init; left out, the newest of Debian 12."""

    disk_gb: Annotated[StrictInt, Field(ge=8)] = 20
    """GiB of each instance's disk."""

    node_cidr: Annotated[Network, Field(alias="nodeCIDR")] = "10.80.0.0/24"
    """The range of their private addresses."""


def _api(environment: Mapping[str, str]) -> CloudApi:
    from koalesce.providers.clouds.aws_api import AwsApi  # who only names the provider needs no HTTP

    return AwsApi(environment)


CLOUD = Cloud(
    name="aws",
    title="AWS",
    options=AwsOptions,
    credentials={
        "AWS_ACCESS_KEY_ID": "of an access key of yours, or of a role (aws configure export-credentials --format env)",
        "AWS_SECRET_ACCESS_KEY": "the secret that belongs to it",
    },
    api=_api,
)

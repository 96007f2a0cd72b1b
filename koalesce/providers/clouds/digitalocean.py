"""DigitalOcean: droplets from stock images, billed by the time that they exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from pydantic import Field

from koalesce.providers.cloud import Cloud
from koalesce.providers.cloud_options import CloudOptions, Network, Word

if TYPE_CHECKING:
    from koalesce.providers.cloud_api import Resource

_TITLE = "DigitalOcean"
_API = "https://api.digitalocean.com"
_PAGE = 200
# Where each kind is, and by what it's removed; in the order in which they can be removed.
_KINDS = {
    "droplet": ("/v2/droplets", "droplets", "id"),
    "firewall": ("/v2/firewalls", "firewalls", "id"),
    "VPC": ("/v2/vpcs", "vpcs", "id"),
    "SSH key": ("/v2/account/keys", "ssh_keys", "id"),
    "tag": ("/v2/tags", "tags", "name"),
}


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


class DigitalOceanApi:
    """Its API (https://docs.digitalocean.com/reference/api/), by the variables that Terraform's plugin reads, too."""

    def __init__(self, environment: Mapping[str, str], **patience: Any) -> None:
        from koalesce.providers.cloud_http import Rest  # who only names the provider needs no HTTP

        self._rest = Rest(
            environment.get("DIGITALOCEAN_API_URL") or _API,
            {"Authorization": f"Bearer {environment.get('DIGITALOCEAN_TOKEN', '')}"},
            title=_TITLE,
            **patience,
        )

    def listing(self, marks: Mapping[str, str]) -> list[Resource]:
        """All that Koalesce has made there and that has these marks."""
        from koalesce.providers.cloud_api import Resource, marks_in

        return [
            Resource(kind=kind, id=str(found[key]), name=found["name"], marks=own)
            for kind, (path, kinds, key) in _KINDS.items()
            for found in self._all(path, kinds)
            if (own := marks_in([found["name"], *(found.get("tags") or ())])) and marks.items() <= own.items()
        ]

    def remove(self, resource: Resource) -> None:
        """Ask for its removal."""
        from koalesce.providers.cloud_api import Busy, CloudError
        from koalesce.providers.cloud_http import message

        path = f"{_KINDS[resource.kind][0]}/{quote(resource.id, safe='')}"
        status, value = self._rest.request("DELETE", path)
        if status in (403, 409, 412, 422):  # a network with members, a droplet that is being changed
            raise Busy(f"{resource} can't be removed yet: {message(value)}")
        if status >= 400 and status != 404:
            raise CloudError(f"{resource} can't be removed: {status} {message(value)}")

    def _all(self, path: str, kinds: str) -> Iterator[Mapping[str, Any]]:
        page = 1
        while True:
            value = self._get(path, {"per_page": _PAGE, "page": page})
            yield from value.get(kinds) or ()
            if not ((value.get("links") or {}).get("pages") or {}).get("next"):
                return
            page += 1

    def _get(self, path: str, query: Mapping[str, Any]) -> Mapping[str, Any]:
        from koalesce.providers.cloud_api import CloudError
        from koalesce.providers.cloud_http import message

        status, value = self._rest.request("GET", path, query)
        if status == 401:
            raise CloudError(f"{_TITLE} doesn't take the token in DIGITALOCEAN_TOKEN", hint="make another one")
        if status != 200:
            raise CloudError(f"{_TITLE} answers {status} to GET {path}: {message(value)}")
        return value


CLOUD = Cloud(
    name="digitalocean",
    title=_TITLE,
    options=DigitalOceanOptions,
    credentials={
        "DIGITALOCEAN_TOKEN": "an API token that may read and write (cloud.digitalocean.com, API, Personal access tokens)"
    },
    api=DigitalOceanApi,
)

"""Hetzner Cloud: servers from stock images, billed by the hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from koalesce.providers.cloud import Cloud
from koalesce.providers.cloud_options import CloudOptions, Network, Word

if TYPE_CHECKING:
    from koalesce.providers.cloud_api import Resource

_TITLE = "Hetzner Cloud"
_API = "https://api.hetzner.cloud/v1"
_PAGE = 50
# In the order in which they can be removed: nothing is removed while another needs it. A server takes its public address with it.
_KINDS = {"servers": "server", "firewalls": "firewall", "networks": "network", "ssh_keys": "SSH key"}


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


class HcloudApi:
    """Its API (https://docs.hetzner.cloud/reference/cloud), by the variables that Terraform's plugin reads, too."""

    def __init__(self, environment: Mapping[str, str], **patience: Any) -> None:
        from koalesce.providers.cloud_http import Rest  # who only names the provider needs no HTTP

        self._rest = Rest(
            environment.get("HCLOUD_ENDPOINT") or _API,
            {"Authorization": f"Bearer {environment.get('HCLOUD_TOKEN', '')}"},
            title=_TITLE,
            **patience,
        )

    def listing(self, marks: Mapping[str, str]) -> list[Resource]:
        """All that Koalesce has made there and that has these marks."""
        from koalesce.providers.cloud_api import RUN_MARK, Resource

        selector = ",".join([RUN_MARK, *(f"{name}={value}" for name, value in marks.items())])
        return [
            Resource(kind=kind, id=str(found["id"]), name=found["name"], marks=found.get("labels") or {})
            for kinds, kind in _KINDS.items()
            for found in self._all(kinds, selector)
        ]

    def remove(self, resource: Resource) -> None:
        """Ask for its removal."""
        from koalesce.providers.cloud_api import Busy, CloudError
        from koalesce.providers.cloud_http import message

        kinds = next(kinds for kinds, kind in _KINDS.items() if kind == resource.kind)
        status, value = self._rest.request("DELETE", f"/{kinds}/{resource.id}")
        if status in (409, 422, 423):  # in use, being changed, locked
            raise Busy(f"{resource} can't be removed yet: {message(value)}")
        if status >= 400 and status != 404:
            raise CloudError(f"{resource} can't be removed: {status} {message(value)}")

    def _all(self, kinds: str, selector: str) -> Iterator[Mapping[str, Any]]:
        page: int | None = 1
        while page:
            value = self._get(f"/{kinds}", {"label_selector": selector, "per_page": _PAGE, "page": page})
            yield from value[kinds]
            page = value["meta"]["pagination"]["next_page"]

    def _get(self, path: str, query: Mapping[str, Any]) -> Mapping[str, Any]:
        from koalesce.providers.cloud_api import CloudError
        from koalesce.providers.cloud_http import message

        status, value = self._rest.request("GET", path, query)
        if status == 401:
            raise CloudError(f"{_TITLE} doesn't take the token in HCLOUD_TOKEN", hint="use one of the project's tokens")
        if status != 200:
            raise CloudError(f"{_TITLE} answers {status} to GET {path}: {message(value)}")
        return value


CLOUD = Cloud(
    name="hcloud",
    title=_TITLE,
    options=HcloudOptions,
    credentials={
        "HCLOUD_TOKEN": "an API token of your project that may read and write (console.hetzner.com, Security, API tokens)"
    },
    api=HcloudApi,
)

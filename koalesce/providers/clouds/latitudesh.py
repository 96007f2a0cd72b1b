"""Latitude.sh: bare metal by the hour."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from koalesce.providers.cloud import Cloud
from koalesce.providers.cloud_options import CloudOptions, Word

if TYPE_CHECKING:
    from koalesce.providers.cloud_api import Resource

_TITLE = "Latitude.sh"
_API = "https://api.latitude.sh"
_VERSION = "2023-06-01"
_PAGE = 100
_SERVER = "server"
# Where each kind is, in the order in which they can be removed.
_KINDS = {_SERVER: "/servers", "SSH key": "/ssh_keys", "user data": "/user_data", "tag": "/tags"}


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


class LatitudeshApi:
    """Its API (https://docs.latitude.sh/reference), by the variable that Terraform's plugin reads, too."""

    def __init__(self, environment: Mapping[str, str], *, url: str = _API, **patience: Any) -> None:
        from koalesce.providers.cloud_http import Rest  # who only names the provider needs no HTTP

        token = environment.get("LATITUDESH_AUTH_TOKEN", "")
        headers = {
            "Authorization": f"Bearer {token.removeprefix('Bearer ')}",
            "API-Version": _VERSION,
            "Accept": "application/vnd.api+json",
        }
        self._rest = Rest(url, headers, title=_TITLE, **patience)

    def listing(self, marks: Mapping[str, str]) -> list[Resource]:
        """All that Koalesce has made there and that has these marks."""
        from koalesce.providers.cloud_api import Resource, marks_in

        named = [
            Resource(kind=kind, id=each["id"], name=_name(each), marks=own)
            for kind, path in _KINDS.items()
            if kind != _SERVER
            for each in self._all(path)
            if (own := marks_in([_name(each)]))
        ]
        return [each for each in (*self._servers(named), *named) if marks.items() <= each.marks.items()]

    def remove(self, resource: Resource) -> None:
        """Ask for its removal."""
        from koalesce.providers.cloud_api import Busy, CloudError
        from koalesce.providers.cloud_http import message

        status, value = self._rest.request("DELETE", f"{_KINDS[resource.kind]}/{resource.id}")
        if status in (403, 409, 422, 423):  # locked, being deployed, in use
            raise Busy(f"{resource} can't be removed yet: {message(value)}")
        if status >= 400 and status != 404:
            raise CloudError(f"{resource} can't be removed: {status} {message(value)}")

    def _servers(self, named: Sequence[Resource]) -> Iterator[Resource]:
        """The servers of ours: those with a tag of ours, and those that were to get one when somebody was interrupted.

        Terraform's plugin tags a server in a request of its own; what it is told at its first boot is ours from the beginning.
        """
        from koalesce.providers.cloud_api import Resource

        tags = [each for each in named if each.kind == "tag"]
        tagged = {
            each["id"]: tag.marks for tag in tags for each in self._all(_KINDS[_SERVER], {"filter[tags]": tag.id})
        }
        told = {each.id: each.marks for each in named if each.kind == "user data"}
        for each in self._all(_KINDS[_SERVER]) if named else ():
            own = tagged.get(each["id"]) or (told.get(self._user_data(each["id"])) if told else None)
            if own:
                yield Resource(kind=_SERVER, id=each["id"], name=_name(each), marks=own)

    def _user_data(self, server: str) -> str:
        """What a server was told at its first boot, by its id; nothing if that isn't known."""
        status, value = self._rest.request("GET", f"{_KINDS[_SERVER]}/{server}/deploy_config")
        if status in (403, 404, 422):
            return ""
        return str(self._checked(status, value, "its deploy_config")["data"]["attributes"].get("user_data") or "")

    def _all(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[Mapping[str, Any]]:
        """What there is on all pages; the last one brings nothing new."""
        seen: set[str] = set()
        for page in itertools.count(1):
            pages = {} if path == _KINDS["tag"] else {"page[size]": _PAGE, "page[number]": page}
            status, value = self._rest.request("GET", path, {**(query or {}), **pages})
            new = [each for each in self._checked(status, value, path).get("data") or () if each["id"] not in seen]
            yield from new
            seen.update(each["id"] for each in new)
            if not new or not pages:
                return

    @staticmethod
    def _checked(status: int, value: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        from koalesce.providers.cloud_api import CloudError
        from koalesce.providers.cloud_http import message

        if status == 401:
            raise CloudError(f"{_TITLE} doesn't take the API key in LATITUDESH_AUTH_TOKEN", hint="make another one")
        if status != 200:
            raise CloudError(f"{_TITLE} answers {status} to GET {what}: {message(value)}")
        return value


def _name(found: Mapping[str, Any]) -> str:
    """What a thing is called: user data has but a description, a server the name of its host."""
    attributes = found.get("attributes") or {}
    return str(attributes.get("name") or attributes.get("hostname") or attributes.get("description") or "")


CLOUD = Cloud(
    name="latitudesh",
    title=_TITLE,
    options=LatitudeshOptions,
    credentials={"LATITUDESH_AUTH_TOKEN": "an API key of your team (latitude.sh/dashboard, API keys)"},
    api=LatitudeshApi,
)

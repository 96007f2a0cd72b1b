"""Removes what clusters have left in a cloud, without any state of theirs: by its marks alone, from any machine with the credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from koalesce.errors import TeardownError, UsageError
from koalesce.providers import REGISTRY
from koalesce.providers.cloud import CloudProvider
from koalesce.providers.cloud_api import RUN_MARK, CloudApi, CloudError, Resource, remove_all, runs

_PATIENCE = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSwept:
    """What was removed, and what there still is because its time isn't over."""

    removed: tuple[Resource, ...]
    kept: Mapping[str, Sequence[Resource]]


def api_of(name: str) -> CloudApi:
    """The API of a provider's cloud; UsageError where there is none, or credentials are missing."""
    from koalesce.providers import provider

    found = provider(name)
    if not isinstance(found, CloudProvider):
        clouds = sorted(each for each in REGISTRY if isinstance(REGISTRY[each](), CloudProvider))
        raise UsageError(f"the provider {name} makes nothing in a cloud", hint=f"clouds are: {', '.join(clouds)}")
    return found.api()


def sweep_cloud(
    name: str,
    *,
    run: str = "",
    now: datetime,
    api: CloudApi | None = None,
    patience: float = _PATIENCE,
    told: Callable[[Resource], None] = lambda resource: None,
) -> CloudSwept:
    """Remove what a run has in a cloud, or (without one) all whose time is over. TeardownError names what resists."""
    api = api or api_of(name)
    removed: list[Resource] = []

    def chosen() -> list[Resource]:
        found = api.listing({RUN_MARK: run} if run else {})
        return [each for each in found if run or each.is_expired(now)]

    def tell(resource: Resource) -> None:
        removed.append(resource)
        told(resource)

    try:
        remove_all(api, chosen, patience=patience, told=tell)
    except CloudError as error:
        which = f"--run {run}" if run else "--expired"
        raise TeardownError(error.message, command=f"koalesce sweep --provider {name} {which}") from error
    return CloudSwept(removed=tuple(removed), kept={} if run else runs(api.listing({})))

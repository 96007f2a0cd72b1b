"""Cluster providers: what makes the cluster that a spec asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, cast

from koalesce.errors import UsageError
from koalesce.providers.base import Provider
from koalesce.providers.cloud import CloudProvider
from koalesce.providers.kubeconfig import KubeconfigProvider
from koalesce.providers.local import LocalProvider
from koalesce.providers.ssh import SshProvider

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "koalesce.providers"  # of entry points, by which other packages bring providers
BUILT_IN: Mapping[str, Callable[[], Provider]] = {
    **{name: partial(CloudProvider, name) for name in ("aws", "digitalocean", "equinix", "hcloud", "latitudesh")},
    "kubeconfig": KubeconfigProvider,
    "local": LocalProvider,
    "ssh": SshProvider,
}


class _Registry(Mapping[str, Callable[[], Provider]]):
    """Those that are built in, and those of other packages: who asks for the first doesn't look for the others."""

    def __getitem__(self, name: str) -> Callable[[], Provider]:
        return BUILT_IN[name] if name in BUILT_IN else _loaded(_brought()[name])

    def __contains__(self, name: object) -> bool:
        return name in BUILT_IN or name in _brought()

    def __iter__(self) -> Iterator[str]:
        return iter({**BUILT_IN, **_brought()})

    def __len__(self) -> int:
        return len({**BUILT_IN, **_brought()})

    def __bool__(self) -> bool:
        return True


REGISTRY: Mapping[str, Callable[[], Provider]] = _Registry()


def provider(name: str) -> Provider:
    """A provider by name; UsageError with the known ones otherwise."""
    if name in REGISTRY:
        return REGISTRY[name]()
    import difflib

    near = difflib.get_close_matches(name, REGISTRY, 1)
    meant = f'; did you mean "{near[0]}"?' if near else ""
    raise UsageError(f'unknown cluster provider "{name}"{meant}', hint=f"known are: {', '.join(sorted(REGISTRY))}")


@cache
def _brought() -> Mapping[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _loaded(entry: EntryPoint) -> Callable[[], Provider]:
    try:
        return cast("Callable[[], Provider]", entry.load())
    except (ImportError, AttributeError) as error:
        package = entry.dist.name if entry.dist is not None else entry.value
        raise UsageError(
            f"the cluster provider {entry.name} of the package {package} can't be loaded: {error}",
            hint="install that package again, in a version for this one of Koalesce",
        ) from error


__all__ = [
    "BUILT_IN",
    "REGISTRY",
    "CloudProvider",
    "KubeconfigProvider",
    "LocalProvider",
    "Provider",
    "SshProvider",
    "provider",
]

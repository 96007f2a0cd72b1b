"""Cluster providers: what makes the cluster that a spec asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from koalesce.errors import UsageError
from koalesce.providers.base import Provider
from koalesce.providers.local import LocalProvider

REGISTRY: Mapping[str, Callable[[], Provider]] = {
    "local": LocalProvider,
}


def provider(name: str) -> Provider:
    """A provider by name; UsageError with the known ones otherwise."""
    if name in REGISTRY:
        return REGISTRY[name]()
    import difflib

    near = difflib.get_close_matches(name, REGISTRY, 1)
    meant = f'; did you mean "{near[0]}"?' if near else ""
    raise UsageError(f'unknown cluster provider "{name}"{meant}', hint=f"known are: {', '.join(sorted(REGISTRY))}")


__all__ = ["REGISTRY", "LocalProvider", "Provider", "provider"]

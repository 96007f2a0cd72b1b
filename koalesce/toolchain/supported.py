"""The Kubernetes versions that there are recipes for: asked for by `validate`, which needs nothing else of the toolchain."""

from __future__ import annotations

from pathlib import Path

from koalesce.assets import cache_dir
from koalesce.errors import UsageError
from koalesce.toolchain import recipes
from koalesce.toolchain.releases import version_key


def supported(cache: Path | None = None) -> list[str]:
    """The versions, newest first: those that are shipped, and those that were added to a cache."""
    modules = (recipes.SHIPPED, (cache or cache_dir()) / "recipes")
    return sorted(recipes.versions("kubernetes", modules), key=version_key, reverse=True)


def resolve_version(text: str = "", cache: Path | None = None) -> str:
    """The exact version for `1.37`, `1.37.2`, `v1.37.2` or, if empty, the newest; UsageError for an unsupported one."""
    wanted = text.removeprefix("v")
    known = supported(cache)
    for version in known:
        if wanted in ("", version, version.rpartition(".")[0]):
            return version
    raise UsageError(
        f"Kubernetes {text} isn't supported; supported are {', '.join(known)}",
        hint=f"koalesce toolchain add {wanted}",
    )

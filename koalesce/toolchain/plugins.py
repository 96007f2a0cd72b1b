"""Terraform's plugins that can be built from their Go modules, put where Terraform takes them from without asking a registry."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from koalesce.errors import UsageError
from koalesce.records import dataclass
from koalesce.toolchain import recipes
from koalesce.toolchain.machine import architecture
from koalesce.toolchain.toolchain import Toolchain

_HOSTS = ("registry.terraform.io", "registry.opentofu.org")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin by its source address (without a host) and version; `tool` is what it's called among recipes."""

    source: str
    tool: str
    version: str


PLUGINS: Mapping[str, Plugin] = {
    "hcloud": Plugin(source="hetznercloud/hcloud", tool="terraform-provider-hcloud", version="1.68.0"),
}


def install(name: str, mirror: Path, toolchain: Toolchain) -> Path:
    """Build a plugin if it isn't kept, and put it into a mirror (as `terraform providers mirror` lays it out); its path there."""
    if name not in PLUGINS:
        raise UsageError(f'no plugin "{name}" can be built from its module; there is {", ".join(sorted(PLUGINS))}')
    plugin = PLUGINS[name]
    recipe = recipes.find(plugin.tool, plugin.version, (recipes.SHIPPED,))
    if recipe is None:
        raise UsageError(f"there is no recipe of {plugin.tool} {plugin.version}", hint="install Koalesce again")
    built = toolchain.build(recipe) / recipe.output
    first, *others = (_place(mirror, host, plugin) for host in _HOSTS)
    draft = first.with_name(f".{first.name}.{os.getpid()}")
    for path in (first, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(built, draft)
        draft.replace(path)
    return first


def _place(mirror: Path, host: str, plugin: Plugin) -> Path:
    system = f"linux_{architecture()}"
    return mirror / host / plugin.source / plugin.version / system / f"{plugin.tool}_v{plugin.version}"

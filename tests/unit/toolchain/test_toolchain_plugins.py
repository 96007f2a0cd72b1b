"""Terraform's plugins: built, and laid out as Terraform looks for them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from koalesce.assets import asset
from koalesce.errors import UsageError
from koalesce.toolchain import Toolchain, plugins, recipes
from koalesce.toolchain.machine import architecture


class WithoutBuilds(Toolchain):
    def build(self, recipe: recipes.Recipe) -> Path:
        (self.root / recipe.output).write_text(recipe.version)
        return self.root


def test_it_lies_where_both_programs_look_for_it(tmp_path: Path) -> None:
    toolchain = WithoutBuilds(cache=tmp_path)

    for _ in range(2):
        path = plugins.install("hcloud", tmp_path / "mirror", toolchain)

    found = sorted(
        str(each.relative_to(tmp_path / "mirror")) for each in (tmp_path / "mirror").rglob("*") if each.is_file()
    )
    end = f"hetznercloud/hcloud/1.68.0/linux_{architecture()}/terraform-provider-hcloud_v1.68.0"
    assert found == [f"registry.opentofu.org/{end}", f"registry.terraform.io/{end}"]
    assert (path, path.read_text()) == (tmp_path / "mirror" / found[1], "1.68.0")


@pytest.mark.parametrize("name", plugins.PLUGINS)
def test_each_has_a_recipe_and_fits_its_root(name: str) -> None:
    plugin = plugins.PLUGINS[name]
    versions = (asset("terraform", name) / "versions.tf").read_text()

    assert recipes.find(plugin.tool, plugin.version, (recipes.SHIPPED,)) is not None
    assert f'source  = "{plugin.source}"' in versions
    (constraint,) = re.findall(r'version = "~> ([\d.]+)"', versions)
    assert plugin.version.startswith(f"{constraint}.")


def test_one_that_cannot_be_built_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='no plugin "aws" can be built from its module; there is hcloud'):
        plugins.install("aws", tmp_path, Toolchain(cache=tmp_path))

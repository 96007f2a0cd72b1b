"""The shipped tables and recipes, and how more are written."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from koalesce.errors import ProvisionError
from koalesce.toolchain import recipes
from koalesce.toolchain.generate import agnhost_recipe, go_mod, kubernetes_recipe
from koalesce.toolchain.releases import Releases, record_pins, recorded_pins, version_in, version_key

SHIPPED = sorted(recipes.SHIPPED.glob("*/*.recipe.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_recipe_is_pinned_and_in_the_table(path: Path, tmp_path: Path) -> None:
    recipe = recipes.load(path)
    releases = Releases.load(tmp_path / "none")

    if recipe.tool.startswith("terraform-provider-"):  # Terraform's registry has it, for those who reach that
        assert recipe.binaries == (recipe.tool,)
    else:
        assert recipe.binaries == releases.tools[recipe.tool].binaries
    go = (path.parent / "go.mod").read_text()
    assert "require" not in go or (path.parent / "go.sum").is_file()
    assert not re.search(r"=> \.", go), "a folder of this machine is no pin"
    assert path.name == f"{recipe.tool}.recipe.toml"


def test_every_version_of_the_table_can_be_had(tmp_path: Path) -> None:
    releases = Releases.load(tmp_path / "none")

    for tool, version in releases.versions.items():
        recipe = recipes.find(tool, version, (recipes.SHIPPED,))
        assert recipe is not None or releases.tools[tool].debian, tool


def test_every_shipped_kubernetes_has_its_agnhost() -> None:
    found = recipes.versions("kubernetes", (recipes.SHIPPED,))

    assert {version.rpartition(".")[0] for version in found} == {"1.34", "1.35", "1.36", "1.37"}
    for version in found:
        recipe = recipes.find("kubernetes", version, (recipes.SHIPPED,))
        assert recipe is not None
        assert recipes.load(recipe.folder / "agnhost.recipe.toml").packages == (
            "k8s.io/kubernetes/test/images/agnhost",
        )


@pytest.mark.parametrize("version", sorted(recipes.versions("kubernetes", (recipes.SHIPPED,))))
def test_generated_recipes_are_those_that_ship(version: str) -> None:
    folder = recipes.SHIPPED / f"kubernetes-{version}"
    agnhost = recipes.load(folder / "agnhost.recipe.toml").version

    shipped = [tomllib.loads((folder / f"{tool}.recipe.toml").read_text()) for tool in ("kubernetes", "agnhost")]

    assert [tomllib.loads(kubernetes_recipe(version)), tomllib.loads(agnhost_recipe(agnhost))] == shipped


def test_staging_modules_are_replaced_by_the_published_ones() -> None:
    described = {
        "Go": "1.24.0",
        "Godebug": [{"Key": "default", "Value": "go1.24"}],
        "Require": [
            {"Path": "github.com/x/y", "Version": "v1.2.3"},
            {"Path": "k8s.io/api", "Version": "v0.0.0"},
            {"Path": "k8s.io/utils", "Version": "v0.0.0-20250604170112-4c0f3b243397"},
            {"Path": "k8s.io/kubelet", "Version": "v0.0.0"},
        ],
    }

    text = go_mod("1.34.4", described)

    assert "go 1.24.0\n" in text
    assert "godebug default=go1.24" in text
    assert re.findall(r"^\t(\S+) => (\S+ \S+)$", text, re.MULTILINE) == [
        ("k8s.io/api", "k8s.io/api v0.34.4"),
        ("k8s.io/kubelet", "k8s.io/kubelet v0.34.4"),
    ]


def test_downloads_are_the_publishers(tmp_path: Path) -> None:
    releases = Releases.load(tmp_path / "none")

    files = releases.files("kubernetes", "1.37.2")

    assert [url.rpartition("/")[2] for url, _, _ in files] == list(releases.tools["kubernetes"].binaries)
    for tool in releases.tools:
        for url, sums, _ in releases.files(tool, "1.2.3"):
            assert url.startswith("https://")
            assert sums.startswith("https://")
            assert "{" not in url + sums


def test_recorded_pins_are_kept_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "recipes" / "pins.json"

    record_pins(path, {"https://a": "1"})
    record_pins(path, {"https://b": "2"})

    assert recorded_pins(path) == {"https://a": "1", "https://b": "2"}
    assert Releases.load(path).pins["https://b"] == "2"
    assert [found.name for found in path.parent.iterdir()] == ["pins.json"]


def test_damaged_pins_are_said(tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text("{")

    with pytest.raises(ProvisionError, match=r"pins\.json is damaged"):
        recorded_pins(tmp_path / "pins.json")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Kubernetes v1.37.2\n", "1.37.2"),
        ("etcd Version: 3.6.5\nGit SHA: x\nGo Version: go1.26.8", "3.6.5"),
        ("containerd github.com/containerd/containerd/v2 v2.4.2 abc", "2.4.2"),
        ("runc version 1.1.5+ds1\nspec: 1.0.2-dev", "1.1.5"),
        ("CNI bridge plugin v1.9.1\nCNI protocol versions supported: 0.1.0", "1.9.1"),
        ("usage: tool [flags]", None),
    ],
)
def test_reads_versions_as_programs_print_them(text: str, version: str | None) -> None:
    assert version_in(text) == version


def test_versions_compare_as_numbers() -> None:
    assert version_key("1.9.0") < version_key("1.10.0-rc.1") < version_key("1.10.1")

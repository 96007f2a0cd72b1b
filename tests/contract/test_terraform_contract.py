"""Every Terraform root keeps the contract of cluster providers: the same variables and outputs, word for word."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from koalesce.assets import asset
from koalesce.errors import ProvisionError
from koalesce.providers import BUILT_IN
from koalesce.terraform import find_binary
from koalesce.terraform.contract import NUMBER, contract
from koalesce.terraform.keeping import differences, problems
from koalesce.terraform.trying import plugin_mirror, tried

ROOTS = sorted(path for path in asset("terraform").iterdir() if path.is_dir() and path.name != "modules")

VARIABLES = """
variable "name" {
  description = "A name."
  type        = string # required
  nullable    = false
  validation {
    condition     = can(regex("^a\\\\.b$", var.name))
    error_message = "no"
  }
}

/* a comment with variable "ghost" {} in it */
variable "nodes" {
  description = "Nodes { and } \\"more\\"."
  type = list(object({
    name = string
    labels = optional(map(string), {})
  }))
  default  = []
  nullable = false
}

variable "settings" {
  description = "Its own."
  type        = object({ a = optional(string, "x") })
  default     = {}
  nullable    = false
}
"""
OUTPUTS = """
output "contract" {
  description = "A number."
  value       = 1
}
"""
SCHEMA: dict[str, Any] = {
    "variables": {
        "required": ["name"],
        "properties": {
            "name": {"description": "A name.", "terraformType": "string", "pattern": "^a\\.b$"},
            "nodes": {
                "description": 'Nodes { and } "more".',
                "terraformType": "list(object({ name = string, labels = optional(map(string), {}) }))",
                "default": [],
            },
            "settings": {"description": "Its own.", "terraformType": None, "default": {}},
        },
    },
    "outputs": {"properties": {"contract": {"description": "A number.", "const": 1}}},
}

_CONTROL: dict[str, Any] = {"name": "a", "role": "control-plane"}


def test_there_is_a_root_for_each_provider_and_no_other() -> None:
    assert [root.name for root in ROOTS] == sorted(BUILT_IN)


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_root_keeps_the_contract(root: Path) -> None:
    assert problems(root) == []


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_the_example_of_variables_is_enough_for_a_plan(root: Path, terraform: Path, tmp_path: Path) -> None:
    for file in root.glob("*.tf"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "terraform.tfvars").write_bytes((root / "terraform.tfvars-example").read_bytes())
    if needed := re.findall(r'source\s*=\s*"([^"]+)"', (root / "versions.tf").read_text()):
        if not (lacks := [name for name in needed if not any(plugin_mirror().glob(f"*/{name}/*"))]):
            pytest.skip("plugins ask for an account when they plan")
        pytest.skip(f"there is no plugin {', '.join(lacks)} in {plugin_mirror()}")

    for words in (["init", "-plugin-dir=/nonexistent"], ["plan"]):
        done = _run(terraform, words, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout  # as of variables that there aren't


@pytest.mark.parametrize("provider", ["ssh", "qemu"])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"nodes": [_CONTROL, {**_CONTROL, "name": "b"}]}, "one of them, and no other, has the role control-plane"),
        ({"etcd": {"mode": "external", "fixtures": ["e1"]}}, "an etcd on fixtures, are of the provider local"),
        ({"fixtures": [{"name": "f", "kind": "host"}]}, "fixtures, registries, addons and other ip_families"),
        ({"addons": ["metrics-server"]}, "fixtures, registries, addons and other ip_families"),
        ({"ip_families": ["IPv4", "IPv6"]}, 'ip_families than ["IPv4"] are of the provider local'),
        ({"nodes": [{**_CONTROL, "spare": True}]}, "nodes: subnet, disks"),
    ],
)
def test_what_machines_cannot_be_is_refused_by_plain_terraform_before_anything_is_made(
    provider: str, fields: dict[str, Any], said: str, terraform: Path, tmp_path: Path
) -> None:
    for file in asset("terraform", provider).glob("*.tf"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = {"machines": [{"host": "192.0.2.1"}] * 2, "known_hosts": "/known"} if provider == "ssh" else {}
    wanted = {"name": "dev", "run_id": "r", "kubernetes_version": "1.37.2", "nodes": [_CONTROL], "settings": settings}
    (tmp_path / "terraform.tfvars.json").write_text(json.dumps({**wanted, "koalesce_command": ["true"], **fields}))

    begun = _run(terraform, ["init", "-plugin-dir=/nonexistent"], tmp_path)
    done = _run(terraform, ["apply", "-auto-approve"], tmp_path)

    assert (begun.returncode, done.returncode) == (0, 1), (begun, done)
    assert said in " ".join(done.stderr.replace("│", " ").split())
    state = tmp_path / "terraform.tfstate"
    assert not state.exists() or json.loads(state.read_text())["resources"] == []


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_terraform_finds_nothing_wrong_with_the_root(root: Path, terraform: Path) -> None:
    found = tried(root, binary=terraform)

    assert found.problems == ()
    if found.skipped:
        pytest.skip("; ".join(found.skipped))


def test_the_number_is_the_same_everywhere() -> None:
    assert contract()["properties"]["outputs"]["properties"]["contract"]["const"] == NUMBER


def test_a_root_that_keeps_a_contract_has_no_differences(tmp_path: Path) -> None:
    assert differences(_root(tmp_path), SCHEMA) == []


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ('variable "name"', 'variable "title"', "variable name is missing"),
        ('variable "name"', 'variable "title"', "variable title is not in the contract"),
        ("type        = string # required", "type = number", "variable name has type number, the contract string"),
        (
            "optional(map(string), {})",
            "map(string)",
            "variable nodes has type list(object({name=string,labels=map(string)}))",
        ),
        ("default  = []", "default = [1]", "variable nodes has default [1], the contract []"),
        ("default  = []", "", "variable nodes has no default"),
        (
            "type        = string",
            'type = string\n  default = ""',
            "variable name has a default, the contract requires a value",
        ),
        ('"A name."', '"The name."', "variable name is described otherwise"),
        ("can(regex(", 'can(regex("x",', "variable name has validation can(regex("),
        ("nullable    = false", "", "variable name may be null"),
        ("nullable    = false", "nullable = false\n  sensitive = true", "variable name is sensitive, unlike"),
        ('output "contract"', 'output "number"', "output contract is missing"),
        ("value       = 1", "value = 2", "output contract has value 2, the contract 1"),
        ('"A number."', '"Some number."', "output contract is described otherwise"),
    ],
)
def test_each_difference_is_seen(tmp_path: Path, old: str, new: str, difference: str) -> None:
    found = differences(_root(tmp_path, old, new), SCHEMA)

    assert any(line.startswith(difference) for line in found), found


@pytest.fixture
def terraform() -> Path:
    try:
        return find_binary()
    except ProvisionError as error:
        pytest.skip(error.message)


def _run(terraform: Path, words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Terraform in a folder, as it is without settings of its own, of which it may complain."""
    return subprocess.run(
        [terraform, *words, "-input=false", "-no-color"], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "TF_CLI_CONFIG_FILE": os.devnull},
    )  # fmt: skip


def _root(folder: Path, old: str = "", new: str = "") -> Path:
    for name, text in (("variables.tf", VARIABLES), ("outputs.tf", OUTPUTS)):
        (folder / name).write_text(text.replace(old, new, 1) if old else text)
    return folder

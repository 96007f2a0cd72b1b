"""Every Terraform root keeps the contract of cluster providers: the same variables and outputs, word for word."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs.generator.contract import with_table
from koalesce.assets import asset
from koalesce.errors import ProvisionError
from koalesce.providers import BUILT_IN
from koalesce.terraform import find_binary
from koalesce.terraform.contract import NUMBER, contract

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


def test_there_is_a_root_for_each_provider_and_no_other() -> None:
    assert [root.name for root in ROOTS] == sorted(BUILT_IN)


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_root_has_the_variables_and_outputs_of_the_contract(root: Path) -> None:
    properties = contract()["properties"]

    assert differences(root, properties) == []


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_root_has_all_that_people_need(root: Path) -> None:
    assert {path.name for path in root.iterdir()} >= {
        "README.md", "main.tf", "outputs.tf", "terraform.tfvars-example", "variables.tf", "versions.tf",
    }  # fmt: skip
    assert "required_version" in (root / "versions.tf").read_text()
    readme = (root / "README.md").read_text()
    assert [heading for heading in ("## Needs", "## Settings", "## Variables") if heading not in readme] == []
    assert with_table(readme) == readme, "run python -m docs.generator"


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_the_example_of_variables_is_enough_for_a_plan(root: Path, terraform: Path, tmp_path: Path) -> None:
    for file in root.glob("*.tf"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "terraform.tfvars").write_bytes((root / "terraform.tfvars-example").read_bytes())

    for words in (["init", "-plugin-dir=/nonexistent"], ["plan"]):
        done = subprocess.run(
            [terraform, *words, "-input=false", "-no-color"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout  # as of variables that there aren't


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_root_is_formatted(root: Path, terraform: Path) -> None:
    done = subprocess.run([terraform, "fmt", "-check", "-diff", "-recursive", root], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")


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


def _root(folder: Path, old: str = "", new: str = "") -> Path:
    for name, text in (("variables.tf", VARIABLES), ("outputs.tf", OUTPUTS)):
        (folder / name).write_text(text.replace(old, new, 1) if old else text)
    return folder


def differences(root: Path, schema: dict[str, Any]) -> list[str]:
    """What a root's variables and outputs have that the contract hasn't, and the reverse."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(root.glob("*.tf")))
    blocks = list(read_blocks(text))
    return [
        *_variables({block.name: block for block in blocks if block.kind == "variable"}, schema["variables"]),
        *_outputs({block.name: block for block in blocks if block.kind == "output"}, schema["outputs"]["properties"]),
    ]


def _variables(found: dict[str, Block], schema: dict[str, Any]) -> Iterator[str]:
    wanted = schema["properties"]
    yield from _names("variable", found, wanted)
    for name in wanted.keys() & found.keys():
        rule, has = wanted[name], found[name].attributes
        type_ = _squeeze(has.get("type", "any"))
        if rule["terraformType"] is not None and type_ != _squeeze(rule["terraformType"]):
            yield f"variable {name} has type {type_}, the contract {_squeeze(rule['terraformType'])}"
        if name in schema["required"]:
            if "default" in has:
                yield f"variable {name} has a default, the contract requires a value"
        elif "default" not in has:
            yield f"variable {name} has no default"
        elif json.loads(has["default"]) != rule["default"]:
            yield f"variable {name} has default {has['default']}, the contract {json.dumps(rule['default'])}"
        if (condition := has.get("validation.condition", "")) != (wished := _condition(name, rule)):
            yield f"variable {name} has validation {condition or 'none'}, the contract {wished or 'none'}"
        if has.get("nullable") != "false":
            yield f"variable {name} may be null"
        yield from _sensitivity("variable", name, has, rule)
        yield from _description("variable", name, has, rule)


def _outputs(found: dict[str, Block], wanted: dict[str, Any]) -> Iterator[str]:
    yield from _names("output", found, wanted)
    for name in wanted.keys() & found.keys():
        rule, has = wanted[name], found[name].attributes
        if "const" in rule and has.get("value") != str(rule["const"]):
            yield f"output {name} has value {has.get('value')}, the contract {rule['const']}"
        yield from _description("output", name, has, rule)
        yield from _sensitivity("output", name, has, rule)


def _condition(name: str, rule: dict[str, Any]) -> str:
    """The condition of its validation, where the contract limits what a variable may be; no white space."""
    if "enum" in rule:
        return _squeeze(f"contains({json.dumps(rule['enum'])},var.{name})")
    return f"can(regex({json.dumps(rule['pattern'])},var.{name}))" if "pattern" in rule else ""


def _sensitivity(kind: str, name: str, has: dict[str, str], rule: dict[str, Any]) -> Iterator[str]:
    if (has.get("sensitive", "false") == "true") != rule.get("sensitive", False):
        yield f"{kind} {name} is {'sensitive' if 'sensitive' in has else 'not sensitive'}, unlike in the contract"


def _names(kind: str, found: dict[str, Block], wanted: dict[str, Any]) -> Iterator[str]:
    yield from (f"{kind} {name} is missing" for name in wanted.keys() - found.keys())
    yield from (f"{kind} {name} is not in the contract" for name in found.keys() - wanted.keys())


def _description(kind: str, name: str, has: dict[str, str], rule: dict[str, Any]) -> Iterator[str]:
    if json.loads(has.get("description", '""')) != rule["description"]:
        yield f"{kind} {name} is described otherwise: {has.get('description')}"


@dataclass(frozen=True)
class Block:
    """A block of a Terraform file: `kind "name" { attribute = expression … }`."""

    kind: str
    name: str
    attributes: dict[str, str]


_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[\w.-]+)|(?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)


def read_blocks(text: str) -> Iterator[Block]:
    """The top-level blocks that have one label; enough of HCL for variables and outputs that hold no heredoc."""
    tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(text) if match.lastgroup != "skip"]
    lines = [text.count("\n", 0, start) for _, start in tokens]
    words = [word for word, _ in tokens]
    index = 0
    while index < len(words):
        opening = words.index("{", index)
        end = _closing(words, opening)
        if opening - index == 2:
            yield Block(words[index], json.loads(words[index + 1]), _attributes(words, lines, opening + 1, end))
        index = end + 1


def _attributes(words: list[str], lines: list[int], index: int, end: int) -> dict[str, str]:
    """Attributes of a block, each expression as its tokens; those of nested blocks have the block's name before a dot."""
    found = {}
    while index < end:
        if words[index + 1] != "=":
            opening = words.index("{", index)
            closing = _closing(words, opening)
            inner = _attributes(words, lines, opening + 1, closing)
            found |= {f"{words[index]}.{name}": value for name, value in inner.items()}
            index = closing + 1
            continue
        name, start = words[index], index + 2
        index = start
        while index < end and lines[index] == lines[max(start, index - 1)]:
            index = _closing(words, index) + 1 if words[index] in "([{" else index + 1
        found[name] = _expression(words[start:index], lines[start:index])
    return found


def _expression(words: list[str], lines: list[int]) -> str:
    """An expression on one line, with the commas that line breaks may stand for."""
    text = words[0]
    for before, word, broken in zip(words, words[1:], (a != b for a, b in itertools.pairwise(lines)), strict=False):
        text += "," + word if broken and before not in "([{," and word not in ")]}," else word
    return text


def _closing(words: list[str], opening: int) -> int:
    depth = 0
    for index in range(opening, len(words)):
        depth += (words[index] in ("(", "[", "{")) - (words[index] in (")", "]", "}"))
        if depth == 0:
            return index
    raise ValueError("a bracket is never closed")


def _squeeze(expression: str) -> str:
    """An expression without the white space and trailing commas that make no difference."""
    return re.sub(r",([)\]}])", r"\1", re.sub(r"\s+", "", expression))

"""Writes what a Terraform root has of the contract: its variables, the texts of its outputs, the table in its README."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from koalesce.assets import asset
from koalesce.terraform.contract import contract
from koalesce.terraform.hcl import read_blocks

BEGIN, END = "<!-- variables: written by `koalesce contract --write` -->", "<!-- end of variables -->"
_MARKS = re.compile(r"<!-- variables: [^\n]*-->\n.*?<!-- end of variables -->", re.DOTALL)
_HEADER = "# Written by `koalesce contract --write` from the contract; the type of settings is this root's own."
_OWN = "settings"
_OUTPUT = re.compile(r'(?<=^output )"(\w+)" \{\n  description = "(?:[^"\\\n]|\\.)*"', re.MULTILINE)


def written(root: Path) -> Mapping[Path, str]:
    """The files of a root that have something of the contract, as they are to be; those that aren't there are left out."""
    return {
        root / name: make((root / name).read_text(encoding="utf-8"))
        for name, make in MAKERS.items()
        if (root / name).is_file()
    }


def bootstrap(_: str = "") -> str:
    """How machines become a cluster: cluster.tf, the same for every root that makes machines."""
    return asset("templates", "terraform", "cluster.tf").read_text(encoding="utf-8")


def variables_of(text: str) -> str:
    """The contract's variables.tf, with the type that `settings` has in the root's own."""
    try:
        own = next((block for block in read_blocks(text) if (block.kind, block.name) == ("variable", _OWN)), None)
    except ValueError:  # the contract's check tells of it
        return text
    if own is None:
        return text
    schema = contract()["properties"]["variables"]
    blocks = [
        f'variable "{name}" {{{own.body}}}' if name == _OWN else _variable(name, rule, name in schema["required"])
        for name, rule in schema["properties"].items()
    ]
    return "\n\n".join([_HEADER, *blocks]) + "\n"


def with_descriptions(text: str) -> str:
    """The outputs of a root, described as in the contract."""
    rules = contract()["properties"]["outputs"]["properties"]

    def described(match: re.Match[str]) -> str:
        rule = rules.get(match[1])
        return f'"{match[1]}" {{\n  description = {quoted(rule["description"])}' if rule else match[0]

    return _OUTPUT.sub(described, text)


def with_table(text: str) -> str:
    """A README with its table of variables; as it is if it has no place for one."""
    return _MARKS.sub(lambda _: f"{BEGIN}\n\n{table()}\n\n{END}", text)


def table() -> str:
    """The variables of the contract."""
    schema = contract()["properties"]["variables"]
    rows = ["| variable | type | default | |", "|---|---|---|---|"]
    for name, rule in schema["properties"].items():
        kind = f"`{rule['terraformType']}`" if rule["terraformType"] else "see Settings"
        default = "required" if name in schema["required"] else f"`{json.dumps(rule['default'])}`"
        rows.append(f"| `{name}` | {kind} | {default} | {_cell(rule)} |")
    return "\n".join(rows)


def condition(name: str, rule: Mapping[str, Any]) -> str:
    """The condition of a variable's validation, where the contract limits what it may be; nothing elsewhere."""
    if "enum" in rule:
        return f"contains({json.dumps(rule['enum'])}, var.{name})"
    return f"can(regex({quoted(rule['pattern'])}, var.{name}))" if "pattern" in rule else ""


def quoted(text: str) -> str:
    """A text as a string of Terraform's language."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


MAKERS: Mapping[str, Callable[[str], str]] = {
    "README.md": with_table,
    "cluster.tf": bootstrap,
    "outputs.tf": with_descriptions,
    "variables.tf": variables_of,
}


def _variable(name: str, rule: Mapping[str, Any], is_required: bool) -> str:
    return "\n".join([f'variable "{name}" {{', *_lines(name, rule, is_required), "}"])


def _lines(name: str, rule: Mapping[str, Any], is_required: bool) -> Iterator[str]:
    yield f"  description = {quoted(rule['description'])}"
    yield f"  type        = {rule['terraformType']}"
    if not is_required:
        yield f"  default     = {json.dumps(rule['default'])}"
    yield "  nullable    = false"
    if rule.get("sensitive"):
        yield "  sensitive   = true"
    if wanted := condition(name, rule):
        must = f"be one of {', '.join(rule['enum'])}" if "enum" in rule else f"match {rule['pattern']}"
        yield from ("", "  validation {", f"    condition     = {wanted}")
        yield from (f"    error_message = {quoted(f'{name} must {must}.')}", "  }")


def _cell(rule: Mapping[str, Any]) -> str:
    return re.sub(r"\s+", " ", str(rule["description"])).replace("|", "\\|")

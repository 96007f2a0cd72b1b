"""Whether a Terraform root keeps the contract of cluster providers: what its files say, without running Terraform."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from koalesce.terraform.contract import contract
from koalesce.terraform.hcl import Block, read_blocks, squeezed
from koalesce.terraform.writing import condition, written

FILES = ("README.md", "main.tf", "outputs.tf", "terraform.tfvars-example", "variables.tf", "versions.tf")
HEADINGS = ("## Needs", "## Cost and time", "## Settings", "## Variables")
_KINDS = ("variable", "output")
OLDEST = (1, 5)  # the Terraform that roots are for
_NEEDS = re.compile(r'required_version\s*=\s*">=\s*(\d+)\.(\d+)')


def problems(root: Path) -> list[str]:
    """What a root lacks, as sentences that begin with the file or the variable; empty if it keeps the contract."""
    missing = [f"{name} is missing" for name in FILES if not (root / name).is_file()]
    return [*missing, *_texts(root), *differences(root, contract()["properties"]), *_stale(root)]


def differences(root: Path, schema: Mapping[str, Any]) -> list[str]:
    """What a root's variables and outputs have that the contract hasn't, and the reverse."""
    blocks: list[Block] = []
    for path in sorted(root.glob("*.tf")):
        try:
            blocks += [block for block in read_blocks(path.read_text(encoding="utf-8")) if block.kind in _KINDS]
        except (ValueError, IndexError) as error:
            if path.name in ("variables.tf", "outputs.tf"):
                return [f"{path.name} can't be read: {error}"]
    return [
        *_variables({block.name: block for block in blocks if block.kind == "variable"}, schema["variables"]),
        *_outputs({block.name: block for block in blocks if block.kind == "output"}, schema["outputs"]["properties"]),
    ]


def _texts(root: Path) -> Iterator[str]:
    """What README.md and versions.tf lack."""
    if (readme := root / "README.md").is_file():
        lines = readme.read_text(encoding="utf-8").splitlines()
        yield from (f'README.md has no heading "{heading}"' for heading in HEADINGS if heading not in lines)
        if "<!-- variables: " not in "\n".join(lines):
            yield 'README.md has no table of variables: between "<!-- variables: -->" and "<!-- end of variables -->"'
    if (versions := root / "versions.tf").is_file():
        found = _NEEDS.search(versions.read_text(encoding="utf-8"))
        if found is None or (int(found[1]), int(found[2])) < OLDEST:
            yield f'versions.tf doesn\'t say required_version = ">= {OLDEST[0]}.{OLDEST[1]}", or a later one'


def _stale(root: Path) -> Iterator[str]:
    for path, text in written(root).items():
        if path.read_text(encoding="utf-8") != text:
            yield f"{path.name} isn't as the contract has it: koalesce contract --write {root}"


def _variables(found: Mapping[str, Block], schema: Mapping[str, Any]) -> Iterator[str]:
    wanted = schema["properties"]
    yield from _names("variable", found, wanted)
    for name in (name for name in wanted if name in found):
        rule, has = wanted[name], found[name].attributes
        kind = squeezed(has.get("type", "any"))
        if rule["terraformType"] is not None and kind != squeezed(rule["terraformType"]):
            yield f"variable {name} has type {kind}, the contract {squeezed(rule['terraformType'])}"
        if name in schema["required"]:
            if "default" in has:
                yield f"variable {name} has a default, the contract requires a value"
        elif "default" not in has:
            yield f"variable {name} has no default"
        elif _value(has["default"]) != rule["default"]:
            yield f"variable {name} has default {has['default']}, the contract {json.dumps(rule['default'])}"
        limit, wished = squeezed(has.get("validation.condition", "")), squeezed(condition(name, rule))
        if limit != wished:
            yield f"variable {name} has validation {limit or 'none'}, the contract {wished or 'none'}"
        if has.get("nullable") != "false":
            yield f"variable {name} may be null"
        yield from _sensitivity("variable", name, has, rule)
        yield from _description("variable", name, has, rule)


def _outputs(found: Mapping[str, Block], wanted: Mapping[str, Any]) -> Iterator[str]:
    yield from _names("output", found, wanted)
    for name in (name for name in wanted if name in found):
        rule, has = wanted[name], found[name].attributes
        if "const" in rule and has.get("value") != str(rule["const"]):
            yield f"output {name} has value {has.get('value')}, the contract {rule['const']}"
        yield from _description("output", name, has, rule)
        yield from _sensitivity("output", name, has, rule)


def _sensitivity(kind: str, name: str, has: Mapping[str, str], rule: Mapping[str, Any]) -> Iterator[str]:
    if (has.get("sensitive", "false") == "true") != rule.get("sensitive", False):
        yield f"{kind} {name} is {'sensitive' if 'sensitive' in has else 'not sensitive'}, unlike in the contract"


def _names(kind: str, found: Mapping[str, Block], wanted: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{kind} {name} is missing" for name in wanted if name not in found)
    yield from (f"{kind} {name} is not in the contract" for name in found if name not in wanted)


def _description(kind: str, name: str, has: Mapping[str, str], rule: Mapping[str, Any]) -> Iterator[str]:
    if _value(has.get("description", '""')) != rule["description"]:
        yield f"{kind} {name} is described otherwise: {has.get('description')}"


def _value(expression: str) -> Any:
    """The value of an expression that is a literal; its text for any other."""
    try:
        return json.loads(expression)
    except ValueError:
        return expression

"""The tables of variables in the READMEs of Terraform roots, which all have those of the contract."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koalesce.terraform.contract import contract

BEGIN, END = "<!-- variables: written by `python -m docs.generator` from the contract -->", "<!-- end of variables -->"
_OWN = "see Settings"


def readmes(folder: Path) -> Mapping[Path, str]:
    """The READMEs below a folder with their tables as the contract has them."""
    return {path: with_table(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/README.md"))}


def with_table(text: str) -> str:
    """A README with its table; ValueError if it has no place for it."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the README needs a line {BEGIN!r}, and further down one {END!r}")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


def table() -> str:
    """The variables of the contract."""
    schema = contract()["properties"]["variables"]
    rows = ["| variable | type | default | |", "|---|---|---|---|"]
    for name, rule in schema["properties"].items():
        kind = f"`{rule['terraformType']}`" if rule["terraformType"] else _OWN
        default = "required" if name in schema["required"] else f"`{json.dumps(rule['default'])}`"
        rows.append(f"| `{name}` | {kind} | {default} | {_cell(rule)} |")
    return "\n".join(rows)


def _cell(rule: Mapping[str, Any]) -> str:
    return re.sub(r"\s+", " ", str(rule["description"])).replace("|", "\\|")

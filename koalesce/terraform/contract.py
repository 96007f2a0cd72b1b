"""The contract of cluster providers (`schemas/cluster-module.schema.json`), checked against what a root gives.

The file is JSON Schema, so that any validator can read it; the few keywords that it uses are checked here, which is less than
a dependency would be. A keyword that isn't known here is an error, never overlooked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from koalesce.assets import asset
from koalesce.errors import ProvisionError

NUMBER = 1
_SAYS = re.compile(r'^output "contract" \{[^}]*?^\s*value\s*=\s*(\d+)\s*$', re.MULTILINE)
_NOTES = {"description", "title", "default", "terraformType", "$schema", "$id"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
}


class ContractError(ProvisionError):
    """A Terraform root does not keep the contract."""


@cache
def contract() -> Mapping[str, Any]:
    """The schema, as it ships."""
    loaded: dict[str, Any] = json.loads(asset("schemas", "cluster-module.schema.json").read_text(encoding="utf-8"))
    return loaded


def check_root(folder: Path) -> None:
    """Raise ContractError where a root says that it keeps another contract, before anything of it is made."""
    path = folder / "outputs.tf"
    said = _SAYS.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    if said is not None:
        _check_number(int(said[1]))


def check_outputs(outputs: Mapping[str, Any]) -> None:
    """Raise ContractError with all that is wrong with a root's outputs."""
    if outputs.get("contract") is not None:
        _check_number(outputs["contract"])
    _raise(contract()["properties"]["outputs"], outputs, "output")


def check_variables(variables: Mapping[str, Any]) -> None:
    """Raise ContractError with all that is wrong with the values for a root's variables."""
    _raise(contract()["properties"]["variables"], variables, "variable")


def _check_number(number: Any) -> None:
    if number != NUMBER:
        raise ContractError(
            f"the Terraform root keeps contract {number}, this version of Koalesce knows contract {NUMBER}",
            hint="use the root that comes with this version; one of another package needs a version of that package for it",
        )


def _raise(schema: Mapping[str, Any], values: Mapping[str, Any], what: str) -> None:
    problems = list(problems_of(schema, dict(values), ""))
    if problems:
        raise ContractError(f"{what}s of the Terraform root: " + "; ".join(problems))


def problems_of(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    """What a value lacks of its schema, each as a sentence that begins with its path."""
    at = path or "(all)"
    for keyword, wanted in schema.items():
        match keyword:
            case "type":
                if not _is_type(value, wanted):
                    yield f"{at}: expected {wanted}, got {_brief(value)}"
                    return
            case "const":
                if value != wanted:
                    yield f"{at}: expected {wanted}, got {_brief(value)}"
            case "enum":
                if value not in wanted:
                    yield f"{at}: expected one of {', '.join(map(str, wanted))}, got {_brief(value)}"
            case "pattern":
                if not re.search(wanted, value):
                    yield f"{at}: {_brief(value)} does not match {wanted}"
            case "items":
                for index, item in enumerate(value):
                    yield from problems_of(wanted, item, f"{path}[{index}]")
            case "required":
                yield from (f"{_join(path, name)}: missing" for name in wanted if name not in value)
            case "properties":
                for name in wanted.keys() & value.keys():
                    yield from problems_of(wanted[name], value[name], _join(path, name))
            case "additionalProperties":
                yield from _additional(schema, value, path)
            case _ if keyword not in _NOTES:
                raise ValueError(f"the contract uses {keyword}, which is not checked")


def _additional(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
    rule = schema["additionalProperties"]
    for name in value.keys() - schema.get("properties", {}).keys():
        if rule is False:
            yield f"{_join(path, name)}: unknown"
        elif isinstance(rule, Mapping):
            yield from problems_of(rule, value[name], _join(path, name))


def _is_type(value: Any, name: str) -> bool:
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, _TYPES[name])


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else str(name)


def _brief(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."

"""The package of a new cluster provider, as `koalesce init provider NAME` writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from koalesce.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 30
_PARTS = ("README.md", "cluster.tf", "main.tf", "outputs.tf", "terraform.tfvars-example", "variables.tf", "versions.tf")


def skeleton(name: str) -> Mapping[Path, str]:
    """The files of a package for a provider of this name; UsageError if that can't be a name, or is taken."""
    from koalesce.providers import BUILT_IN
    from koalesce.toolchain.supported import resolve_version

    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise UsageError(
            f'"{name}" can\'t be the name of a provider',
            hint=f"use at most {_LONGEST} lower-case letters and digits, with single dashes between, beginning with a letter",
        )
    if name in BUILT_IN:
        raise UsageError(f"Koalesce brings a provider {name}", hint="one of another package has to have another name")
    words = name.split("-")
    package = "koalesce_" + "_".join(words)
    values = {
        "NAME": name,
        "PACKAGE": package,
        "CLASS": "".join(word.capitalize() for word in words),
        "UPPER": "_".join(words).upper(),
        "KUBERNETES": resolve_version(""),
    }
    files = {
        Path("pyproject.toml"): "pyproject.toml",
        Path(package, "__init__.py"): "package.py",
        Path("tests", "test_contract.py"): "test_contract.py",
        **{Path(package, "terraform", part): part for part in _PARTS},
    }
    return {path: _completed(path, _filled(template, values)) for path, template in files.items()}


def _completed(path: Path, text: str) -> str:
    """A file of the Terraform root with what it has of the contract."""
    from koalesce.terraform.writing import MAKERS

    return MAKERS[path.name](text) if path.name in MAKERS else text


def _filled(template: str, values: Mapping[str, str]) -> str:
    from koalesce.assets import asset

    file = asset("templates", "init", "provider", f"{template}.in")
    text = file.read_text(encoding="utf-8") if file.exists() else ""  # cluster.tf is as it is for all
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text

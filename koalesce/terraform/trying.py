"""What Terraform itself says of a root: its form, and where its plugins are at hand whether it is valid and its own tests pass."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from koalesce import process
from koalesce.assets import cache_dir
from koalesce.process import Result
from koalesce.terraform.binary import find_binary

_FILES = ("*.tf", "*.tftest.hcl", "tests/*.tftest.hcl", "templates/*")
_SOURCE = re.compile(
    r'^\s*source\s*=\s*"([^"/]+/[^"/]+)"', re.MULTILINE
)  # of required_providers; those of modules begin with ./
_PATIENCE = 600.0
_NO_PLUGINS = "no-plugins"
_MOCKS_SINCE = {"Terraform": (1, 7), "OpenTofu": (1, 8)}
_VERSION = re.compile(r"^(?P<name>\w+) v(?P<version>(\d+)\.(\d+)\S*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tried:
    """What was found wrong, and what could not be tried, with the reason."""

    problems: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def plugin_mirror() -> Path:
    """The folder where plugins are taken from, as `terraform providers mirror` fills it: `$KOALESCE_TERRAFORM_PLUGINS`, else in the cache."""
    given = os.environ.get("KOALESCE_TERRAFORM_PLUGINS")
    return Path(given).absolute() if given else cache_dir() / "terraform-plugins"


def has_plugins_of(root: Path) -> bool:
    """Whether the mirror has all plugins that a root needs, of which there are some."""
    needed = _SOURCE.findall("\n".join(path.read_text(encoding="utf-8") for path in sorted(root.glob("*.tf"))))
    return bool(needed) and all(any(plugin_mirror().glob(f"*/{name}/*")) for name in needed)


def tried(root: Path, *, binary: Path | None = None, plugins: Path | None = None) -> Tried:
    """Have Terraform look at a copy of a root; no registry is asked, and no account needed. ProvisionError without Terraform."""
    program, root = binary or find_binary(), root.absolute()
    form = _run(program, root, "fmt", "-no-color", "-check", "-recursive", str(root))
    bad = [f"{line} isn't formatted: terraform fmt {root}" for line in form.out.split()] if form.code else []
    if form.code and not bad:
        return Tried((_said(form),))
    with tempfile.TemporaryDirectory(prefix="koalesce-root-") as made:
        folder = Path(made)
        _copy(root, folder)
        mirror = (plugins or plugin_mirror()).absolute()
        place = mirror if mirror.is_dir() else folder / _NO_PLUGINS
        place.mkdir(exist_ok=True)
        begun = _run(program, folder, "init", "-backend=false", "-input=false", "-no-color", f"-plugin-dir={place}")
        if begun.code:
            lacking = sorted(set(_lacking(begun.err)))
            reason = f"{program.name} validate and test: {', '.join(lacking)} not in {mirror}"
            return Tried(tuple(bad), (reason,)) if lacking else Tried((*bad, _said(begun)))
        found = [*bad, *_validated(program, folder)]
        if not any(folder.rglob("*.tftest.hcl")):
            return Tried(tuple(found))
        if reason := _no_mocks(program, folder):
            return Tried(tuple(found), (reason,))
        return Tried((*found, *_tested(program, folder)))


def _validated(program: Path, folder: Path) -> Iterator[str]:
    done = _run(program, folder, "validate", "-json")
    for found in json.loads(done.out or "{}").get("diagnostics", ()):
        place = found.get("range") or {}
        line = f":{place['start']['line']}" if "start" in place else ""
        yield f"{place.get('filename', 'the root')}{line}: {found['summary']}: {' '.join(found.get('detail', '').split())}"


def _no_mocks(program: Path, folder: Path) -> str:
    """Why a root's own tests can't be run; nothing if they can."""
    said = _run(program, folder, "version").out  # which names the one or the other, whatever the program is called
    found = _VERSION.search(said)
    if found is None or found["name"] not in _MOCKS_SINCE:
        return f"{program.name} test: `{program.name} version` doesn't tell a version: {_flat(said)[:100]}"
    since = _MOCKS_SINCE[found["name"]]
    if (int(found[3]), int(found[4])) >= since:
        return ""
    return (
        f"{program.name} test: {found['name']} {found['version']} has no mocks of providers, {since[0]}.{since[1]} has"
    )


def _tested(program: Path, folder: Path) -> Iterator[str]:
    done = _run(program, folder, "test", "-no-color")
    if done.code:
        yield f"{program.name} test: {done.out.strip()}\n{done.err.strip()}"


def _copy(root: Path, folder: Path) -> None:
    for path in sorted({path for pattern in _FILES for path in root.glob(pattern)}):
        there = folder / path.relative_to(root)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)


def _lacking(text: str) -> Iterator[str]:
    """The plugins that init found nowhere, by its words."""
    for part in _flat(text).split("Could not retrieve the list of available versions for provider ")[1:]:
        yield part.partition(":")[0]


def _run(program: Path, folder: Path, *words: str) -> Result:
    own = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    fixed = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    return process.run([program, *words], cwd=folder, env=own | fixed, timeout=_PATIENCE)


def _said(done: Result) -> str:
    return _flat(done.err or done.out)


def _flat(text: str) -> str:
    return " ".join(text.replace("│", " ").split())

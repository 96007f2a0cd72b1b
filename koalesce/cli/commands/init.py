"""`koalesce init`: a first spec that passes, and what runs it in CI; or the package of a new cluster provider."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from koalesce.cli.arguments import positive
from koalesce.errors import UsageError

NAME = "init"
HELP = "write a first spec that passes, settings, and a CI workflow; or a new cluster provider"
_EXAMPLES = """\
examples:
  koalesce init                                   asks, in a terminal
  koalesce init --name my-cni --nodes 3 --ci github
  koalesce init components/dns --ci none          below another folder
  koalesce init provider acme                     a package with a cluster provider, in koalesce-acme
"""
_PROVIDER = "provider"
_CI = ("github", "gitlab", "both", "none")
_Answer = TypeVar("_Answer")


class _Draft(NamedTuple):
    """A file to be written."""

    path: Path
    template: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and what it's called."""
    parser.epilog = _EXAMPLES
    parser.add_argument("folder", nargs="?", metavar="FOLDER", default=".", help="where (default: here), or `provider`")
    parser.add_argument("provider", nargs="?", metavar="PROVIDER", help="after `provider`: what the new one is called")
    parser.add_argument("--name", metavar="NAME", help="what the spec is called (default: as the folder)")
    parser.add_argument("--nodes", metavar="N", type=positive, help="nodes of its cluster (default: 2)")
    parser.add_argument("--ci", choices=_CI, help="for which CI system to write a workflow (default: github)")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")


def run(args: argparse.Namespace) -> int:
    """Write the files, and say what to do next."""
    if args.provider is not None or args.folder == _PROVIDER:
        return _new_provider(args)
    folder = Path(args.folder)
    name, nodes, ci = _answers(args, folder)
    spec = Path("specs") / f"{name}.yaml"
    values = {"NAME": name, "NODES": str(nodes), "SPEC": str(spec), "FOLDER": "specs/"}
    files = {draft.path: _filled(draft.template, values) for draft in _drafts(spec, ci)}
    return _written(folder, files, f"koalesce run {shlex.quote(str(spec))}", is_forced=args.force)


def _new_provider(args: argparse.Namespace) -> int:
    """Write the package of a cluster provider, which keeps the contract and has a place for its machines."""
    from koalesce.cli.provider_skeleton import skeleton

    if args.folder != _PROVIDER:
        raise UsageError(
            f"koalesce init {args.folder} {args.provider}: one folder",
            hint="koalesce init provider NAME writes a provider",
        )
    if args.provider is None:
        raise UsageError("koalesce init provider: what is it called?", hint="./provider is the folder of this name")
    if given := [flag for flag in ("name", "nodes", "ci") if getattr(args, flag) is not None]:
        raise UsageError(f"koalesce init provider: there is no --{given[0]}; that is of a spec")
    files = skeleton(args.provider)
    root = next(path.parent for path in files if path.name == "main.tf")
    next_steps = f"pip install -e '.[dev]' && koalesce contract {root} && pytest"
    return _written(Path(f"koalesce-{args.provider}"), files, next_steps, is_forced=args.force)


def _written(folder: Path, files: Mapping[Path, str], next_steps: str, *, is_forced: bool) -> int:
    from koalesce.cli import exit_codes
    from koalesce.reporters.files import write_whole

    _refuse_existing([folder / path for path in files], is_forced=is_forced)
    for path, text in files.items():
        _make_folder((folder / path).parent)
        write_whole(folder / path, text.encode())
        print(f"wrote {folder / path}")
    there = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    print(f"now: {there}{next_steps}")
    return exit_codes.PASSED


def _answers(args: argparse.Namespace, folder: Path) -> tuple[str, int, str]:
    """What the command line says; what it doesn't is asked in a terminal, and a default elsewhere."""
    from koalesce.kube.marks import slug

    name = _name(args.name) if args.name else _ask("name of the spec", slug(folder.resolve().name, 40), _name)
    nodes = args.nodes or _ask("nodes of its cluster", "2", _number)
    ci = args.ci or _ask(f"CI system ({', '.join(_CI)})", "github", _ci)
    return name, nodes, ci


def _ask(what: str, default: str, read: Callable[[str], _Answer]) -> _Answer:
    """An answer that can be read; asked again where it can't."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return read(default)
    while True:
        try:
            return read(input(f"{what} [{default}]: ").strip() or default)
        except EOFError:
            print()
            return read(default)
        except UsageError as error:
            print(f"  {error.message}")


def _name(text: str) -> str:
    from koalesce.kube.marks import slug

    if slug(text, 63) != text:
        raise UsageError(
            f"{text!r} is no name of a spec: lower-case letters, digits and -", hint=f"--name {slug(text, 40)}"
        )
    return text


def _number(text: str) -> int:
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from error


def _ci(text: str) -> str:
    if text not in _CI:
        raise UsageError(f"{text!r} is none of {', '.join(_CI)}")
    return text


def _drafts(spec: Path, ci: str) -> list[_Draft]:
    found = [_Draft(spec, "spec.yaml"), _Draft(Path("koalesce.toml"), "koalesce.toml")]
    if ci in ("github", "both"):
        found.append(_Draft(Path(".github/workflows/koalesce.yaml"), "github.yaml"))
    if ci in ("gitlab", "both"):
        found.append(_Draft(Path(".gitlab-ci.yml"), "gitlab.yaml"))
    return found


def _refuse_existing(paths: list[Path], *, is_forced: bool) -> None:
    """Before anything is written, so that nothing is half done."""
    there = [str(path) for path in paths if path.exists()]
    if there and not is_forced:
        raise UsageError(f"{', '.join(there)}: there already", hint="--force overwrites")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: can't be made: {error.strerror}") from error


def _filled(template: str, values: dict[str, str]) -> str:
    from koalesce.assets import asset

    text = asset("templates", "init", f"{template}.in").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text

"""`koalesce init`: a first spec that passes, and what runs it in CI."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from koalesce.cli.arguments import positive
from koalesce.errors import UsageError

NAME = "init"
HELP = "write a first spec that passes, settings, and a CI workflow"
_EXAMPLES = """\
examples:
  koalesce init                                   asks, in a terminal
  koalesce init --name my-cni --nodes 3 --ci github
  koalesce init components/dns --ci none          below another folder
"""
_CI = ("github", "gitlab", "both", "none")


class _Draft(NamedTuple):
    """A file to be written."""

    path: Path
    template: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and what it's called."""
    parser.epilog = _EXAMPLES
    parser.add_argument("folder", nargs="?", metavar="FOLDER", default=".", help="where (default: here)")
    parser.add_argument("--name", metavar="NAME", help="what the spec is called (default: as the folder)")
    parser.add_argument("--nodes", metavar="N", type=positive, help="nodes of its cluster (default: 2)")
    parser.add_argument("--ci", choices=_CI, help="for which CI system to write a workflow (default: github)")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")


def run(args: argparse.Namespace) -> int:
    """Write the files, and say what to do next."""
    import shlex

    from koalesce.cli import exit_codes
    from koalesce.reporters.files import write_whole

    folder = Path(args.folder)
    name, nodes, ci = _answers(args, folder)
    spec = Path("specs") / f"{name}.yaml"
    values = {"NAME": name, "NODES": str(nodes), "SPEC": str(spec), "FOLDER": "specs/"}
    drafts = _drafts(spec, ci)
    _refuse_existing([folder / draft.path for draft in drafts], is_forced=args.force)
    for draft in drafts:
        path = folder / draft.path
        _make_folder(path.parent)
        write_whole(path, _filled(draft.template, values).encode())
        print(f"wrote {path}")
    there = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    print(f"now: {there}koalesce run {shlex.quote(str(spec))}")
    return exit_codes.PASSED


def _answers(args: argparse.Namespace, folder: Path) -> tuple[str, int, str]:
    """What the command line says; what it doesn't is asked in a terminal, and a default elsewhere."""
    from koalesce.kube.marks import slug

    default = slug(folder.resolve().name, 40)
    name = args.name or _ask("name of the spec", default)
    if slug(name, 63) != name:
        raise UsageError(
            f"{name!r} is no name of a spec: lower-case letters, digits and -", hint=f"--name {slug(name, 40)}"
        )
    nodes = args.nodes or _number(_ask("nodes of its cluster", "2"))
    ci = args.ci or _ask(f"CI system ({', '.join(_CI)})", "github")
    if ci not in _CI:
        raise UsageError(f"{ci!r} is none of {', '.join(_CI)}")
    return name, nodes, ci


def _ask(what: str, default: str) -> str:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return default
    try:
        return input(f"{what} [{default}]: ").strip() or default
    except EOFError:
        print()
        return default


def _number(text: str) -> int:
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from error


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

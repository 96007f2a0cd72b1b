"""`koalesce config`: the settings, and where each came from."""

from __future__ import annotations

import argparse

NAME = "config"
HELP = "show the settings, and where each came from"
_EXAMPLES = """\
examples:
  koalesce config                             every setting
  KOALESCE_RUN_PARALLEL=8 koalesce config     with one from the environment
  koalesce config --json | jq .parallel.value

A flag of `koalesce run` wins over the environment (KOALESCE_RUN_PARALLEL=8), that over the project's koalesce.toml:
  exclude = ["examples"]     # specs that are only run where they are named
  env = ["VERSION"]          # variables of the environment that specs may see
  [run]
  parallel = 8
  timeout = "10m"
In pyproject.toml the tables are [tool.koalesce] and [tool.koalesce.run].

What [run] may have (cached = false is --no-cache, the others are called as their flags):
  at-once, cached, ctrf, events, failfast, html, junit, keep-on-failure, kubernetes, machines, markdown,
  no-flaky, no-skips, parallel, provider, reruns, run-timeout, short, shuffle, spans, tap, timeout, verbose
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """In which form."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--json", action="store_true", help="as a JSON object, by name")


def run(args: argparse.Namespace) -> int:
    """Print a line for each setting."""
    import json

    from koalesce.cli import exit_codes
    from koalesce.reporters.text import inert

    rows = _rows()
    if args.json:
        print(json.dumps({name: {"value": value, "source": source} for name, value, source in rows}, indent=2))
        return exit_codes.PASSED
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, value, source in rows:
        print(inert(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}"))
    return exit_codes.PASSED


def _rows() -> list[tuple[str, str, str]]:
    """Name, value and source of each setting."""
    import os
    from pathlib import Path

    from koalesce.cli.settings import settings
    from koalesce.spec.project import Project

    project = Project.find(Path.cwd())
    lists = (("env", sorted(project.env_names)), ("exclude", project.exclude))
    own = [(name, ", ".join(found) or "-", project.file if found else "default") for name, found in lists]
    flags = [(each.name, each.shown, each.source) for each in settings(project, os.environ)]
    return [("project", str(project.root), "default"), *own, *_folders(), *flags]


def _folders() -> list[tuple[str, str, str]]:
    import os

    from koalesce.assets import cache_dir, state_dir

    places = (("state folder", "KOALESCE_STATE_DIR", state_dir()), ("cache folder", "KOALESCE_CACHE_DIR", cache_dir()))
    return [(name, str(path), variable if os.environ.get(variable) else "default") for name, variable, path in places]

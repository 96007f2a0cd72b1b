"""Settings: flags of `koalesce run` that a project, or the environment, says once for all runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koalesce.cli import run_arguments
from koalesce.cli.arguments import did_you_mean, duration, positive
from koalesce.cli.report_files import REPORTS
from koalesce.errors import UsageError
from koalesce.spec.project import Project

PREFIX = "KOALESCE_RUN_"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
_ALL = "koalesce config --help names all settings"
_OF_NEW_CLUSTERS = ("provider", "kubernetes", "keep_on_failure", "machines")


def _truth(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in _YES


# By the flag's name: how its text is read, and its default.
SETTINGS: Mapping[str, tuple[Callable[[str], Any], Any]] = {
    "at-once": (positive, 1),
    "cached": (_truth, True),
    "failfast": (_truth, False),
    "keep-on-failure": (_truth, False),
    "kubernetes": (run_arguments.versions, ()),
    "machines": (Path, None),
    "no-flaky": (_truth, False),
    "no-skips": (_truth, False),
    "parallel": (positive, 4),
    "provider": (str, None),
    "reruns": (run_arguments.reruns, 0),
    "run-timeout": (duration, None),
    "short": (_truth, False),
    "shuffle": (run_arguments.shuffle, None),
    "timeout": (duration, None),
    "verbose": (_truth, False),
    **dict.fromkeys(REPORTS, (Path, None)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting's value, and where it came from: an environment variable, a file, or `default`."""

    name: str
    value: Any
    source: str

    @property
    def attribute(self) -> str:
        """What the flag is called among parsed arguments."""
        return self.name.replace("-", "_")

    @property
    def shown(self) -> str:
        """The value as one writes it; `-` where there is none."""
        match self.value:
            case bool():
                return "true" if self.value else "false"
            case tuple():
                return ",".join(self.value) or "-"
            case None:
                return "-"
            case value:
                return str(value)


def settings(project: Project, environ: Mapping[str, str]) -> list[Setting]:
    """Every setting by its name. The environment wins over the project's file. UsageError for one that is unknown or can't be read."""
    _refuse_unknown(environ, project)
    return [_setting(name, project, environ) for name in SETTINGS]


def fill_in(args: argparse.Namespace, environ: Mapping[str, str] | None = None) -> None:
    """Give the flags that the command line doesn't mention their settings."""
    for setting in settings(Project.find(Path.cwd()), os.environ if environ is None else environ):
        if hasattr(args, setting.attribute):
            continue
        is_moot = getattr(args, "cluster", None) is not None and setting.attribute in _OF_NEW_CLUSTERS
        setattr(args, setting.attribute, SETTINGS[setting.name][1] if is_moot else setting.value)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper().replace("-", "_")


def _setting(name: str, project: Project, environ: Mapping[str, str]) -> Setting:
    read, default = SETTINGS[name]
    if (text := environ.get(variable(name))) is not None:
        try:
            return Setting(name=name, value=_read(read, text), source=variable(name))
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{variable(name)}: {error}", hint=_ALL) from error
    if name in project.run:
        try:
            value = _read(read, _text(project.run[name], read))
        except argparse.ArgumentTypeError as error:
            raise project.problem(("run", name), str(error), _ALL) from error
        value = project.root / value.expanduser() if read is Path else value
        return Setting(name=name, value=value, source=project.file)
    return Setting(name=name, value=default, source="default")


def _read(read: Callable[[str], Any], text: str) -> Any:
    """What a text says; ArgumentTypeError for one that says nothing."""
    if not text and read is not _truth:
        raise argparse.ArgumentTypeError("is empty")
    return read(text)


def _text(value: Any, read: Callable[[str], Any]) -> str:
    """A value of a TOML file as it would stand on the command line; true and false only where they are meant, else ArgumentTypeError."""
    if isinstance(value, bool) and read is _truth:
        return "true" if value else "false"
    if read is _truth:
        raise argparse.ArgumentTypeError(f"expected true or false, got {_toml(value)}")
    if isinstance(value, list) and read is run_arguments.versions and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise argparse.ArgumentTypeError(f"expected a text or a whole number, got {_toml(value)}")
    return str(value)


def _toml(value: Any) -> str:
    """A value about as TOML has it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _refuse_unknown(environ: Mapping[str, str], project: Project) -> None:
    variables = [variable(name) for name in SETTINGS]
    for name in environ:
        if name.startswith(PREFIX) and name not in variables:
            raise UsageError(
                f"{name}: there is no such setting{did_you_mean(name, variables)}",
                hint=_ALL,
            )
    for name in project.run:
        if name not in SETTINGS:
            raise project.problem(("run", name), f"there is no such setting{did_you_mean(name, SETTINGS)}", _ALL)

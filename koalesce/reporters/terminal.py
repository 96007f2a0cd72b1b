"""What a stream can show, and the view that fits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from koalesce.reporters.folding import GitLabFolds
from koalesce.reporters.plain import GitHub, Plain

if TYPE_CHECKING:
    from koalesce.reporters import View


@dataclass(frozen=True, slots=True)
class Abilities:
    """`live`: a person looks at it and the cursor can move. `color`: colours are wanted. `terminal`: it is one."""

    live: bool
    color: bool
    terminal: bool


def abilities(stream: TextIO, environ: Mapping[str, str]) -> Abilities:
    """What a stream can show: NO_COLOR (no-color.org), FORCE_COLOR, CI and TERM are respected; NO_COLOR wins."""
    terminal = stream.isatty()
    is_dumb = environ.get("TERM", "dumb") in ("dumb", "unknown", "")
    in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
    color = terminal and not is_dumb
    if environ.get("FORCE_COLOR", "").lower() not in ("", "0", "false"):
        color = True
    if environ.get("NO_COLOR"):
        color = False
    return Abilities(live=terminal and not is_dumb and not in_ci, color=color, terminal=terminal)


def open_view(stream: TextIO, environ: Mapping[str, str], *, verbose: bool = False, live: bool = True) -> View:
    """The live view on a terminal; plain lines anywhere else (or without `live`), with phases where no person sits before them.

    GitHub and GitLab are told by their variables; their logs fold.
    """
    can = abilities(stream, environ)
    if not can.live and environ.get("GITHUB_ACTIONS") == "true":
        root = environ.get("GITHUB_WORKSPACE")
        return GitHub(stream, here=Path.cwd(), workspace=Path(root) if root else None, verbose=verbose, color=can.color)
    if not can.live and environ.get("GITLAB_CI") == "true":
        return Plain(stream, verbose=verbose, color=can.color, folds=GitLabFolds())
    if can.live and live:
        from koalesce.reporters.console import LiveView  # loads rich, which plain lines do without

        return LiveView(stream, verbose=verbose, color=can.color, environ=environ)
    return Plain(stream, verbose=verbose, phases=not can.terminal or not can.live, color=can.color)

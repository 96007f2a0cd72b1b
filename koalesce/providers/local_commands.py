"""Runs what nodes of local clusters run, on this machine, without a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from koalesce import process
from koalesce.toolchain import Toolchain
from koalesce.toolchain.system import environment, missing_packages

_PATIENCE = 30.0


def runner() -> Callable[[Sequence[str]], str] | None:
    """What runs an argv with the commands that nodes have, and returns its output; None where they aren't here yet."""
    folders = [state.folder for state in Toolchain().states("") if state.tool == "system" and state.folder]
    if missing_packages() and not folders:
        return None
    return lambda words: process.run(words, env=environment(folders), timeout=_PATIENCE).out

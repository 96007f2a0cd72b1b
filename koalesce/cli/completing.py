"""What a shell may offer for the last word of a command line: commands, flags, specs, tests, clusters."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from koalesce.cli.arguments import Parser
from koalesce.cli.commands import COMMANDS, load
from koalesce.errors import KoalesceError

_MAGIC = re.compile(r"([\\.^$*+?{}\[\]|()])")


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of these words (those after `koalesce`) may become; nothing where a file is meant, or anything."""
    *before, current = words or [""]
    current = current.lstrip("'\"")
    return sorted({word for word in _offers(before, current) if word.startswith(current)})


def _offers(before: list[str], current: str) -> Iterable[str]:
    while before and before[0] == "--debug":
        before = before[1:]
    if not before:
        flags = ("--help", "--version", "--debug") if current.startswith("-") else ()
        return [*(name for name, command in COMMANDS.items() if not command.hidden), *flags]
    if before[0] == "help":
        return [name for name, command in COMMANDS.items() if not command.hidden]
    if before[0] not in COMMANDS:
        return ()
    command, parser = load(before[0]), Parser(f"koalesce {before[0]}")
    command.add_arguments(parser)
    return _of_parser(parser, before[1:], current)


def _of_parser(parser: argparse.ArgumentParser, before: list[str], current: str) -> Iterable[str]:
    if "--" in before:  # the rest is for another program
        return ()
    flags = {flag: action for action in parser._actions for flag in action.option_strings}
    waiting = flags.get(before[-1]) if before else None
    if waiting is not None and waiting.nargs is None:
        return _values(waiting, before, current) if waiting.dest != "name" else ()  # a new one
    if current.startswith("-"):
        return [*flags, "--debug"]
    places = [action for action in parser._actions if not action.option_strings]
    given = list(_positionals(before, flags))
    for number, action in enumerate(places):
        if isinstance(action, argparse._SubParsersAction):
            if len(given) > number and given[number] in action.choices:
                return _of_parser(action.choices[given[number]], before[before.index(given[number]) + 1 :], current)
            return list(action.choices)
        if number == len(given) or action.nargs in ("*", "+"):
            return _values(action, before, current)
    return ()


def _positionals(before: Sequence[str], flags: Mapping[str, argparse.Action]) -> Iterable[str]:
    is_value = False
    for word in before:
        if not is_value and not word.startswith("-"):
            yield word
        is_value = word in flags and flags[word].nargs is None and not is_value


def _values(action: argparse.Action, before: Sequence[str], current: str) -> Iterable[str]:
    if action.choices is not None:
        return list(map(str, action.choices))
    if action.dest in _SOURCES:
        try:
            return _SOURCES[action.dest](before, current)
        except (KoalesceError, OSError):  # a spec that isn't valid has no tests to offer
            return ()
    return ()


def _specs(_before: Sequence[str], _current: str) -> Iterable[str]:
    from koalesce.spec import discover

    return [str(path) for path in discover([])]


def _tests(before: Sequence[str], _current: str) -> Iterable[str]:
    """Names of tests as patterns; of the specs on the command line, where there are any."""
    from pathlib import Path

    from koalesce.spec import InvalidSpecs, discover, load_cells

    named = [word for word in before if not word.startswith("-") and Path(word).exists()]
    found: list[str] = []
    for path in discover(named):
        try:
            found += [test.name for spec in load_cells(path) for test in spec.spec.tests]
        except InvalidSpecs:
            continue
    return [_MAGIC.sub(r"\\\1", name) for name in found]


def _clusters(_before: Sequence[str], _current: str) -> Iterable[str]:
    from koalesce.local.ledger import Ledger

    return [entry.name for entry in Ledger().entries()]


def _machines(before: Sequence[str], _current: str) -> Iterable[str]:
    from koalesce.providers.roots import machines_of
    from koalesce.providers.sweeping import find

    return [machine.name for machine in machines_of(find(before[-1]))]


def _providers(_before: Sequence[str], _current: str) -> Iterable[str]:
    from koalesce.providers import REGISTRY

    return list(REGISTRY)


def _versions(_before: Sequence[str], _current: str) -> Iterable[str]:
    from koalesce.toolchain import Toolchain

    return Toolchain().supported()


def _explained(_before: Sequence[str], current: str) -> Iterable[str]:
    from koalesce.cli.commands.explain import explainable

    return explainable(current)


# By the name of the argument; called with the words before the one to complete, and what there is of that.
_SOURCES: Mapping[str, Callable[[Sequence[str], str], Iterable[str]]] = {
    "cluster": _clusters,
    "kubernetes": _versions,
    "name": _clusters,
    "names": _clusters,
    "node": _machines,
    "paths": _specs,
    "provider": _providers,
    "select": _tests,
    "skip": _tests,
    "spec": _specs,
    "start_at": _tests,
    "what": _explained,
}

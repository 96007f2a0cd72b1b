"""The command line as its parsers have it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from koalesce.cli.arguments import Parser
from koalesce.cli.commands import COMMANDS, load


def command_line() -> Iterator[str]:
    """A section for each command."""
    yield "# Command line"
    yield "`koalesce COMMAND --help` says the same in the terminal. Every command takes `--debug`. See also the [exit codes](exit-codes.md)."
    for name, entry in COMMANDS.items():
        if not entry.hidden:
            command = load(name)
            parser = Parser(f"koalesce {name}", command.HELP)
            command.add_arguments(parser)
            yield from _section(parser, level=2)


def _section(parser: argparse.ArgumentParser, *, level: int, text: str = "") -> Iterator[str]:
    yield f"{'#' * level} {parser.prog}"
    words = (parser.description or text).strip()
    yield f"{words[:1].upper()}{words[1:].rstrip('.')}."
    nested: list[tuple[argparse.ArgumentParser, str]] = []
    rows: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            nested += [(each, texts.get(name, "")) for name, each in action.choices.items()]
        elif not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
            text = parser._get_formatter()._expand_help(action) if action.help else ""
            rows.append(f"| `{_shown(action)}` | {text.replace('|', chr(92) + '|')} |")
    if rows:
        yield "\n".join(["| | |", "|---|---|", *rows])
    if parser.epilog:
        yield f"```\n{parser.epilog.strip()}\n```"
    for each, words in nested:
        yield from _section(each, level=level + 1, text=words)


def _shown(action: argparse.Action) -> str:
    """The argument as one writes it."""
    value = _value(action)
    if not action.option_strings:
        many = action.nargs in ("*", "+")
        return f"{value}{' …' if many and '…' not in value else ''}"
    flags = ", ".join(action.option_strings)
    return flags if action.nargs == 0 else f"{flags} {value}"


def _value(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if isinstance(action.choices, Sequence):
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper()

"""Where the keys of a TOML file stand, which the standard library's reader doesn't tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_TABLE = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")
_PARTS = re.compile(_PART)
_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def line_of(text: str, keys: Sequence[str]) -> int:
    """The line, from 1, where a key or a table is first spoken of, else one of those around it (`x = {…}`); 0 where none is."""
    lines = list(_places(text))
    for length in range(len(keys), 0, -1):
        for number, place in lines:
            if place[:length] == list(keys[:length]):
                return number
    return 0


def syntax_error(text: str, error: ValueError) -> tuple[str, str]:
    """What the standard library says of a text that isn't TOML: `:3:7`, as far as that is known, and what is wrong there."""
    found = _PLACE.fullmatch(str(error))
    if found is None:
        return "", str(error)
    line, column = found[2] or str(len(text.splitlines()) or 1), found[3]
    return f":{line}:{column}" if column else f":{line}", found[1]


def _places(text: str) -> list[tuple[int, list[str]]]:
    """Each line that has a key or begins a table, with the keys from the top."""
    table: list[str] = []
    found: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if head := _TABLE.match(line):
            table = _split(head[1])
            found.append((number, table))
        elif key := _KEY.match(line):
            found.append((number, [*table, *_split(key[1])]))
    return found


def _split(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in _PARTS.findall(dotted)]

"""Reads the blocks of Terraform's files: as much of its language as variables and outputs are written in."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[\w.-]+)|(?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a file, `kind "name" { attribute = expression … }`, and what stands between its braces."""

    kind: str
    name: str
    attributes: dict[str, str]
    body: str


def read_blocks(text: str) -> Iterator[Block]:
    """The top-level blocks that have one label, in a file without heredocs; ValueError for one that isn't whole.

    Attributes are on one line each, whatever the file has; those of nested blocks have the block's name before a dot.
    """
    tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(text) if match.lastgroup != "skip"]
    lines = [text.count("\n", 0, start) for _, start in tokens]
    words = [word for word, _ in tokens]
    index = 0
    while index < len(words):
        opening = words.index("{", index)
        end = _closing(words, opening)
        if opening - index == 2:
            body = text[tokens[opening][1] + 1 : tokens[end][1]]
            yield Block(words[index], json.loads(words[index + 1]), _attributes(words, lines, opening + 1, end), body)
        index = end + 1


def squeezed(expression: str) -> str:
    """An expression without the white space and trailing commas that make no difference."""
    return re.sub(r",([)\]}])", r"\1", re.sub(r"\s+", "", expression))


def _attributes(words: list[str], lines: list[int], index: int, end: int) -> dict[str, str]:
    found: dict[str, str] = {}
    while index < end:
        if words[index + 1] != "=":
            opening = words.index("{", index)
            closing = _closing(words, opening)
            inner = _attributes(words, lines, opening + 1, closing)
            found |= {f"{words[index]}.{name}": value for name, value in inner.items()}
            index = closing + 1
            continue
        name, start = words[index], index + 2
        index = start
        while index < end and lines[index] == lines[max(start, index - 1)]:
            index = _closing(words, index) + 1 if words[index] in "([{" else index + 1
        found[name] = _expression(words[start:index], lines[start:index])
    return found


def _expression(words: list[str], lines: list[int]) -> str:
    """An expression on one line, with the commas that line breaks may stand for."""
    text = words[0]
    for before, word, broken in zip(words, words[1:], (a != b for a, b in itertools.pairwise(lines)), strict=False):
        text += "," + word if broken and before not in "([{," and word not in ")]}," else word
    return text


def _closing(words: list[str], opening: int) -> int:
    depth = 0
    for index in range(opening, len(words)):
        depth += (words[index] in ("(", "[", "{")) - (words[index] in (")", "]", "}"))
        if depth == 0:
            return index
    raise ValueError("a bracket is never closed")

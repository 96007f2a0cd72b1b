"""The form of expressions: where they stand in a text, and what path each of them is.

nodes['worker-1'].address      a name, a key or name in brackets, a field
nodes[0].podCIDR               an index
nodes[*].address               every item: a list
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any, Final

from koalesce.expressions import cel
from koalesce.patterns import pattern
from koalesce.records import dataclass
from koalesce.suggestions import closest


class SyntaxProblem(ValueError):
    """What stands between `${{` and `}}` isn't a path; says what one looks like."""


@dataclass(frozen=True, slots=True)
class Every:
    """The segment `[*]`."""

    def __str__(self) -> str:
        return "[*]"


EVERY: Final = Every()
Segment = str | int | Every


@dataclass(frozen=True, slots=True)
class Expression:
    """A path: the root name, and the segments below it."""

    text: str
    root: str
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Literal:
    """A piece of a text that is no expression, its escapes undone."""

    text: str


_OPEN = pattern(r"\$?\$\{\{")
_TOKEN = pattern(
    r"(?P<every>\[\s*\*\s*\])|\[\s*(?P<index>-?\d{1,9})\s*\]|\[\s*(?P<quote>['\"])(?P<key>.*?)(?P=quote)\s*\]|\.(?P<field>[A-Za-z_][\w-]*)"
)
_NAME = pattern(r"[A-Za-z_][\w-]*")
_QUOTED_OR_END = pattern(r"'[^']*'|\"[^\"]*\"|\}\}")


def has_expression(value: Any) -> bool:
    """Whether a value, or anything in it, contains `${{` (escaped ones count: they have to be resolved too)."""
    match value:
        case str():
            return "${{" in value
        case dict():
            return any(has_expression(child) for child in value.values())
        case list() | tuple():
            return any(has_expression(child) for child in value)
        case _:
            return False


def find_expressions(value: Any) -> list[str]:
    """What stands between `${{` and `}}`, in order; SyntaxProblem for one that doesn't end."""
    match value:
        case str():
            return [piece for piece in pieces(value) if isinstance(piece, str)] if "${{" in value else []
        case dict():
            return [found for child in value.values() for found in find_expressions(child)]
        case list() | tuple():
            return [found for child in value for found in find_expressions(child)]
        case _:
            return []


def pieces(text: str) -> Iterator[Literal | str]:
    """The literals and the expressions (as plain texts) of a text, in order."""
    position = 0
    while match := _OPEN.search(text, position):
        if match.start() > position:
            yield Literal(text[position : match.start()])
        if match.group().startswith("$$"):
            yield Literal("${{")
            position = match.end()
            continue
        end = _end(text, match.end())
        yield text[match.end() : end].strip()
        position = end + 2
    if position < len(text):
        yield Literal(text[position:])


def _end(text: str, start: int) -> int:
    """Where the expression that begins here has its `}}`; quoted keys may contain one."""
    for match in _QUOTED_OR_END.finditer(text, start):
        if match.group() == "}}":
            return match.start()
    raise SyntaxProblem("${{ without }}; write $${{ for the characters themselves")


def whole(text: str) -> str | None:
    """The expression that is the whole of a text, if it is one; such a value keeps its type."""
    if not text.lstrip().startswith("${{"):
        return None
    found = list(pieces(text.strip()))
    return found[0] if len(found) == 1 and isinstance(found[0], str) else None


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """The path of an expression (without its braces); SyntaxProblem with a sentence if it is none."""
    stripped = text.strip()
    if not stripped:
        raise SyntaxProblem("an empty expression; write a path such as ${{ vars.version }}")
    root = _NAME.match(stripped)
    if root is None:
        raise SyntaxProblem(f"${{{{ {stripped} }}}} doesn't begin with a name such as vars or nodes")
    segments: list[Segment] = []
    position = root.end()
    while position < len(stripped):
        token = _TOKEN.match(stripped, position)
        if token is None:
            raise SyntaxProblem(_unexpected(stripped, position))
        segments.append(_segment(token))
        position = token.end()
    return Expression(stripped, root.group(), tuple(segments))


def _segment(token: re.Match[str]) -> Segment:
    if token["every"]:
        return EVERY
    if token["index"]:
        return int(token["index"])
    return token["field"] or token["key"]


def _unexpected(text: str, position: int) -> str:
    rest = text[position:]
    return (
        f"${{{{ {text} }}}}: can't read {rest!r}; an expression is a path, such as vars.version, nodes[0].address, "
        "nodes['worker-1'].address or nodes[*].address"
    )


def paths_of(expression: str) -> list[Expression]:
    """The path that an expression is, or those that one of CEL begins with (names of its own among them); none if it can't be read."""
    try:
        return [parse(expression)]
    except SyntaxProblem:
        found = cel.references(expression) if cel.is_installed() else []
    return [
        Expression(root if first is None else f"{root}.{first}", root, () if first is None else (first,))
        for root, first in found
    ]


def check(expression: str, names: Collection[str]) -> str | None:
    """What is wrong with an expression, as far as its form and its root name can tell; None if nothing is."""
    try:
        parsed = parse(expression)
    except SyntaxProblem as error:
        return _problem_in_cel(expression.strip(), names, error)
    if parsed.root in names:
        return None
    return f"{parsed.root}: no such name here" + suggestion(parsed.root, names)


def _problem_in_cel(expression: str, names: Collection[str], no_path: SyntaxProblem) -> str | None:
    if not expression or not cel.is_installed():
        return without_cel(no_path, expression)
    try:
        cel.compiled(expression, names)
    except ValueError as error:
        return f"{expression}: {error}"
    return None


def without_cel(no_path: SyntaxProblem, expression: str) -> str:
    """What there is to say of an expression that is no path, where there is no CEL."""
    return (
        f"{no_path}; anything else is CEL, which needs an extra: pip install 'koalesce[cel]'"
        if expression
        else str(no_path)
    )


def suggestion(word: str, known: Collection[str]) -> str:
    """`; did you mean "x"?` for the known word that is closest, or `; there are: a, b` for a few, or nothing."""
    if (found := closest(word, known)) is not None:
        return f'; did you mean "{found}"?'
    return f"; there are: {', '.join(sorted(known))}" if 0 < len(known) <= 20 else ""

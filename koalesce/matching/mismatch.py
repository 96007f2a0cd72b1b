"""What differs between an expected and an actual value, and where."""

from __future__ import annotations

from dataclasses import replace

from koalesce.patterns import pattern
from koalesce.records import dataclass

_PLAIN = pattern(r"[A-Za-z_][A-Za-z0-9_-]*")


class Missing:
    """The type of MISSING: no such key, as opposed to null."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference. `path` is a jsonpath without braces ("" is the value itself), `expected` and `actual` are short.

    `message` says it without the path: `is 2, expected 3`.
    """

    path: str
    expected: str
    actual: str
    message: str

    def under(self, prefix: str) -> Mismatch:
        """The same, seen from a value that holds the one looked at."""
        return replace(self, path=prefix + self.path)

    def __str__(self) -> str:
        return f"{self.path} {self.message}" if self.path else self.message


def and_more(rest: int, what: str) -> str:
    """What follows the first of several: ` (and 3 more differences)`; nothing where there is no more."""
    return f" (and {rest} more {what}{'' if rest == 1 else 's'})" if rest else ""


def member(path: str, key: str | int) -> str:
    """The path of a key or an index below a path."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if _PLAIN.fullmatch(key):
        return f"{path}.{key}"
    return f"{path}['{key}']"

"""What a pattern speaks of and nothing has: that nothing is like it then proves nothing, as a mistyped key would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from koalesce.matching import operators
from koalesce.matching.mismatch import MISSING, member
from koalesce.matching.operator import Match
from koalesce.matching.shapes import Shape

_Keys = tuple[str, ...]


def unseen(pattern: Any, values: Sequence[Any], match: Match, shape: Shape | None = None) -> str | None:
    """The path of a key that a pattern asks for, if none of the values has any of those; None if one has one, or if there are no values.

    Keys that may be missing (null, `absent`) or whose existence is itself what is asked don't count, nor do fields of the values' type,
    where that is known.
    """
    asked = list(_asked(pattern, match))
    if not asked or not values or any(_is_known(keys, shape) for keys in asked):
        return None
    if any(_has(value, keys) for keys in asked for value in values):
        return None
    path = ""
    for key in asked[0]:
        path = member(path, key)
    return path


def _asked(pattern: Any, match: Match) -> Iterator[_Keys]:
    """The keys that a value must have to match, down to those that are compared."""
    if not isinstance(pattern, Mapping) or operators.is_operators(pattern):
        return
    for key, wanted in pattern.items():
        below = match.below(str(key))
        if wanted and isinstance(wanted, Mapping) and not operators.is_operators(wanted):
            yield from ((str(key), *rest) for rest in _asked(wanted, below))
        elif wanted != {"exists": True} and below(wanted, MISSING):
            yield (str(key),)


def _has(value: Any, keys: _Keys) -> bool:
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def _is_known(keys: _Keys, shape: Shape | None) -> bool:
    for key in keys:
        if shape is None or key not in (shape.names or ()):
            return False
        shape = shape.field(key)
    return True

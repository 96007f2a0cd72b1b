"""What can be put in order: numbers, Kubernetes quantities (`500m`, `64Mi`) and RFC 3339 times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from koalesce.patterns import pattern

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY = pattern(r"([+-]?(?:\d+\.?\d{0,30}|\.\d{1,30}))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?", re.ASCII)
_DIGITS = 40
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_TIME = pattern(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d")

Ordered = Fraction | datetime


def quantity(text: str) -> Fraction | None:
    """The exact number that a quantity stands for; None if the text is no quantity."""
    found = _QUANTITY.fullmatch(text.strip()) if len(text) <= _DIGITS else None
    if found is None:
        return None
    number, suffix, exponent = found.groups()
    factor = Fraction(1)
    if suffix in _BINARY:
        factor = Fraction(1024) ** _BINARY[suffix]
    elif suffix:
        factor = Fraction(10) ** _DECIMAL[suffix]
    elif exponent:
        factor = Fraction(10) ** int(exponent)
    return Fraction(number) * factor


def ordered(value: Any) -> Ordered | None:
    """A value as something that can be compared with others of its kind; None if it can't."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return Fraction(value) if value == value and abs(value) != float("inf") else None
    if not isinstance(value, str):
        return None
    return _time(value) if _TIME.match(value) else quantity(value)


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)

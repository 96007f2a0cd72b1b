"""What an unquoted scalar means: by the core schema of YAML 1.2, or as kubectl takes it."""

from __future__ import annotations

import re
from typing import Any

from koalesce.patterns import pattern


class ScalarError(ValueError):
    """A scalar that means something else than its author may think, or nothing that JSON can hold; says what to write."""


_NULLS = {"", "~", "null", "Null", "NULL"}
_CORE_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_OLD_BOOLEANS = _CORE_BOOLEANS | {
    word: value
    for value, words in ((True, "y Y yes Yes YES on On ON"), (False, "n N no No NO off Off OFF"))
    for word in words.split()
}
_NO_JSON = {sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")} | {".nan", ".NaN", ".NAN"}
_DECIMAL = pattern(r"[-+]?[0-9]+")
_LEADING_ZERO = pattern(r"[-+]?0[0-9]+")
_FLOAT = pattern(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_PREFIXED = pattern(r"([-+]?)0([xXoObB])([0-9a-fA-F]+)")
_BASES = {"x": 16, "o": 8, "b": 2}
_LONGEST_NUMBER = 100


def core(text: str) -> Any:
    """The value of an unquoted scalar by YAML 1.2; ScalarError for what 1.1 reads differently (`0644`)."""
    if text in _NULLS:
        return None
    if text in _CORE_BOOLEANS:
        return _CORE_BOOLEANS[text]
    if text[0] not in "+-.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    if _LEADING_ZERO.fullmatch(text):
        raise ScalarError(
            f"{text} is ambiguous: octal to some, decimal to others; quote it, or write it without the zero"
        )
    if _DECIMAL.fullmatch(text):
        return int(text)
    if text.startswith(("0o", "0x")) and (match := _PREFIXED.fullmatch(text)):
        return _based(text, match)
    return _real(text)


def kubectl(text: str) -> Any:
    """The value of an unquoted scalar as kubectl reads it (sigs.k8s.io/yaml goyaml.v2/resolve.go): YAML 1.1 without base 60.

    `0644` is 420, `on`, `y` and `no` are booleans, dates stay texts.
    """
    if text in _NULLS:
        return None
    if text in _OLD_BOOLEANS:
        return _OLD_BOOLEANS[text]
    if text[0] not in "+-.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    plain = text.replace("_", "") if text[0] != "." else text
    if _DECIMAL.fullmatch(plain) and not _LEADING_ZERO.fullmatch(plain):
        return _sized(int(plain))
    if re.fullmatch(r"[-+]?0[0-7]+", plain):
        return _sized(int(plain, 8))
    if match := _PREFIXED.fullmatch(plain):
        whole = _based(text, match)
        return text if isinstance(whole, str) else _sized(whole)
    number = _real(plain)
    return text if isinstance(number, str) else number


def _sized(number: int) -> int | float:
    """Beyond 64 bits Go's numbers become floating point."""
    return number if -(1 << 63) <= number < 1 << 64 else float(number)


def _based(text: str, match: re.Match[str]) -> int | str:
    sign, base, digits = match.groups()
    try:
        return int(sign + digits, _BASES[base.lower()])
    except ValueError:
        return text


def _real(text: str) -> float | str:
    if text in _NO_JSON:
        raise ScalarError(f"{text} can't be said in JSON; quote it if it's a text")
    if not _FLOAT.fullmatch(text):
        return text
    number = float(text)
    return text if number in (float("inf"), float("-inf")) else number

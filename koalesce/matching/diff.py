"""Values as people read them: short on one line, or as a diff of several."""

from __future__ import annotations

import json
from typing import Any

from koalesce.matching.mismatch import Missing

_WIDTH = 120
_LINES = 80


def render(value: Any, width: int = _WIDTH) -> str:
    """A value on one line of at most `width` characters, as compact JSON; what is cut says how long it was."""
    if isinstance(value, Missing):
        return "missing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else f"{text[: width - 1]}… ({len(text)} characters)"


def unified(expected: Any, actual: Any) -> str:
    """A unified diff from expected to actual, with sorted keys; empty if they are equal.

    Text is compared line by line, everything else as indented JSON. At most 80 lines are given.
    """
    import difflib  # imported here: only failures need it

    lines = list(difflib.unified_diff(_lines(expected), _lines(actual), "expected", "actual", lineterm="", n=3))
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"… and {len(lines) - _LINES} more lines"]
    return "\n".join(lines)


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str).splitlines()

"""Regular expressions that are compiled when they are first used: most commands use few of those that all their modules have."""

from __future__ import annotations

import re
from typing import Any, cast


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """As `re.compile`, but later: for the expressions of a module, which are known to be right."""
    return cast("re.Pattern[str]", _Later(text, flags))


class _Later:
    """Becomes what a compiled expression is by the first thing that is asked of it."""

    def __init__(self, text: str, flags: int) -> None:
        self._made_of = (text, flags)

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._made_of), name)
        setattr(self, name, found)
        return found

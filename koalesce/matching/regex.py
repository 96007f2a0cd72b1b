"""Regular expressions with bounds: a spec's pattern meets text from a cluster, and must not hold up all other tests."""

from __future__ import annotations

import re
from functools import lru_cache

from koalesce.patterns import pattern

LONGEST_PATTERN = 1000
LONGEST_TEXT = 1 << 20
# A repeated thing that is itself repeated and nothing else: (a+)+, (.*)*, ([a-z]+)* take exponential time on text that doesn't fit.
_RUNAWAY = pattern(r"\((?:\?:|\?P<\w+>)?(?:\\.|\[[^\]]+\]|[^()\\\[\]])[+*]\??\)(?:[+*]|\{\d*,)")


@lru_cache(maxsize=512)
def compile_regex(pattern: str) -> re.Pattern[str]:
    """Read a pattern (Python's `re`; ^ and $ also match at line ends); ValueError says in a sentence what is wrong with it."""
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"a regular expression has at most {LONGEST_PATTERN} characters, this one has {len(pattern)}")
    if runaway := _RUNAWAY.search(pattern):
        raise ValueError(f"regular expression {pattern!r}: {runaway[0]} repeats a repetition and can take forever")
    try:
        return re.compile(pattern, re.MULTILINE)
    except (re.error, OverflowError) as error:
        raise ValueError(f"regular expression {pattern!r}: {error}") from error

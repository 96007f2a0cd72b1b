"""Label selectors, matched here so that many different ones share one watch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from koalesce.errors import UsageError
from koalesce.patterns import pattern

Labels = Mapping[str, str]
_KEY = r"(?:[A-Za-z0-9][A-Za-z0-9.\-]*/)?[A-Za-z0-9](?:[A-Za-z0-9_.\-]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.\-]*[A-Za-z0-9])?)?"
_SET = pattern(rf"({_KEY})\s+(in|notin)\s+\(([^()]*)\)")
_EQUAL = pattern(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = pattern(rf"(!?)\s*({_KEY})")
_COMMA = pattern(r",(?![^()]*\))")


@lru_cache(maxsize=1024)
def parse(selector: str) -> Callable[[Labels], bool]:
    """The predicate of a selector (`app=web,tier in (a, b),!legacy`); UsageError where it's none. An empty one takes everything."""
    tests = [_requirement(part.strip(), selector) for part in _COMMA.split(selector)] if selector.strip() else []
    return lambda labels: all(test(labels) for test in tests)


def _requirement(text: str, selector: str) -> Callable[[Labels], bool]:
    if match := _SET.fullmatch(text):
        key, operator, listed = match.groups()
        values = {value.strip() for value in listed.split(",")}
        return (
            (lambda labels: labels.get(key) in values)
            if operator == "in"
            else (lambda labels: labels.get(key) not in values)
        )
    if match := _EQUAL.fullmatch(text):
        key, operator, value = match.groups()
        return (
            (lambda labels: labels.get(key) != value) if operator == "!=" else (lambda labels: labels.get(key) == value)
        )
    if match := _EXISTS.fullmatch(text):
        absent, key = match.groups()
        return (lambda labels: key not in labels) if absent else (lambda labels: key in labels)
    raise UsageError(
        f'"{selector}" is not a label selector: can\'t read "{text}"', hint='such as "app=web,tier in (a,b),!legacy"'
    )

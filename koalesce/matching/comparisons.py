"""Operators that put values in order or in a range: numbers, quantities, times, ages, versions, addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from koalesce.durations import Duration
from koalesce.matching.diff import render
from koalesce.matching.mismatch import MISSING
from koalesce.matching.operator import Match, Operator, Unfit, depending, simple
from koalesce.matching.quantity import ordered
from koalesce.matching.versions import is_in_range, parse_range, parse_version


def comparison(sign: str, holds: Callable[[Any, Any], bool]) -> Operator:
    """`gt` and its like: of numbers, quantities and times."""
    return simple(
        lambda operand: f"{sign} {operand}",
        lambda operand, value: _compared(operand, value, holds),
        lambda operand: None if ordered(operand) is not None else f"{render(operand)} is no number, quantity or time",
    )


def moment(word: str, holds: Callable[[Any, Any], bool]) -> Operator:
    """`before` and `after` a time."""
    return simple(
        lambda operand: f"a time {word} {operand}",
        lambda operand, value: holds(_time(value), _time(operand)),
        lambda operand: None if isinstance(ordered(operand), datetime) else _no_time(operand),
    )


def age(word: str, holds: Callable[[timedelta, timedelta], bool]) -> Operator:
    """`olderThan` and `newerThan` a duration, at the time of the look."""

    def is_held(operand: Any, value: Any, match: Match) -> bool:
        found = _time(value)
        if match.now is None:
            raise Unfit("but what time it is isn't known here: ages are for values of objects")
        return holds(match.now() - found, timedelta(seconds=Duration.parse(operand).seconds))

    return depending(lambda operand: f"a time {word} than {operand} ago", is_held, _duration_problem)


def in_range() -> Operator:
    """`semver`: a version that fits comparisons."""

    def holds(operand: Any, value: Any) -> bool:
        version = parse_version(value) if isinstance(value, str) else None
        if version is None:
            raise Unfit("which is no version")
        return is_in_range(version, operand)

    return simple(lambda operand: f"a version {operand}", holds, _range_problem)


def in_network() -> Operator:
    """`inCIDR`: an address, or a smaller network, out of a network."""
    return simple(lambda operand: f"an address in {operand}", _in_network, _network_problem)


def _compared(operand: Any, value: Any, holds: Callable[[Any, Any], bool]) -> bool:
    left, right = ordered(value), ordered(operand)
    if left is None:
        raise Unfit(
            "which is no number, quantity or time" if value is not MISSING else "so there is nothing to compare"
        )
    if right is None or type(left) is not type(right):
        raise Unfit(f"which can't be compared with {render(operand)}")
    return holds(left, right)


def _time(value: Any) -> datetime:
    found = ordered(value)
    if not isinstance(found, datetime):
        raise Unfit("so there is nothing to compare" if value is MISSING else "which is no time")
    return found


def _no_time(operand: Any) -> str:
    return f"{render(operand)} is no time; write one such as 2026-01-31T12:00:00Z"


def _duration_problem(operand: Any) -> str | None:
    try:
        Duration.parse(operand)
    except ValueError as error:
        return str(error)
    return None


def _range_problem(operand: Any) -> str | None:
    if not isinstance(operand, str):
        return f'{render(operand)} is no comparison of versions; put it in quotes, as ">=1.36"'
    try:
        parse_range(operand)
    except ValueError as error:
        return str(error)
    return None


def _in_network(operand: Any, value: Any) -> bool:
    if not isinstance(value, str):
        raise Unfit("which is no address")
    try:
        inner = ipaddress.ip_network(value)
    except ValueError as error:
        raise Unfit("which is no address") from error
    outer = ipaddress.ip_network(operand)
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    return (
        isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)
    )


def _network_problem(operand: Any) -> str | None:
    try:
        ipaddress.ip_network(operand)
    except ValueError as error:
        return f"{error}; write a network such as 10.244.0.0/16"
    return None

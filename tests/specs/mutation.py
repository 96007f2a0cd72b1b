"""Changes one expected value of an assertion, so that the assertion can no longer hold."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from koalesce.matching.operators import OPERATORS

Change = tuple[str, Any]  # where, and what it is now

_NOWHERE = "203.0.113.0/24"  # for documentation: nobody has an address of it (RFC 5737)
_HUGE = 10**18  # more than any byte counted or second since 1970
_FIELDS_OF_MATCHERS = frozenset(OPERATORS) | {"match"}

# What each step type expects: maps of a field to how it's changed.
_OUTCOMES = {
    "allowed": "refused",
    "answer": "refused",
    "refused": "dropped",
    "rejected": "refused",
    "dropped": "refused",
}
_ENDS = ("passed", "failed", "error", "stopped")


@dataclass(frozen=True)
class Mutant:
    """A step with one expected value changed; `what` says which."""

    what: str
    step: dict[str, Any]


def mutants(step: Mapping[str, Any], key: str) -> Iterator[Mutant]:
    """All changes of a step of a type, each of which must make it fail."""
    if step.get("never"):
        if isinstance(step[key], Mapping) and step[key].get("rollout"):
            return  # what keeps it from being rolled out may as well be an error
        changed = {name: value for name, value in step.items() if name != "never"}
        yield Mutant("without never", copy.deepcopy(changed))
        return
    if step.get("expectFailure"):
        for where, value in _refusals(step["expectFailure"]):
            yield Mutant(where, {**copy.deepcopy(dict(step)), "expectFailure": value})
        return
    body = step[key]
    for where, value in _body(body, key):
        yield Mutant(where, {**copy.deepcopy(dict(step)), key: value})


def _refusals(expected: Any) -> Iterator[Change]:
    if expected is True:
        yield "expectFailure", False
        return
    for name, other in (("reason", "NoSuchReason"), ("code", 599), ("message", {"contains": "never said so"})):
        if name in expected:
            yield f"expectFailure.{name}", {**expected, name: other}


def _body(body: Any, key: str) -> Iterator[Change]:
    fields = _FIELDS.get(key)
    if fields is None or not isinstance(body, Mapping):
        return
    if key == "wait-for" and body.get("exists") and "/" in body["resource"]:
        yield "wait-for.exists", {**{name: value for name, value in body.items() if name != "exists"}, "deleted": True}
    for name, how in fields.items():
        if name == "expect" and "sourceIP" in body:
            continue  # of what isn't allowed no server sees an address: that isn't valid
        if name in body:
            for where, value in how(body[name]):
                yield f"{key}.{name}{where}", {**body, name: value}


def expected(value: Any) -> Iterator[Change]:
    """A matcher, a pattern, or a plain value: each of its leaves."""
    if isinstance(value, Mapping):
        if value and all(name in _FIELDS_OF_MATCHERS for name in value):
            yield from _operators(value)
            return
        for name, child in value.items():
            yield from _inside(f".{name}", expected(child), lambda new, name=name: {**value, name: new})
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _inside(
                f"[{index}]", expected(child), lambda new, index=index: [*value[:index], new, *value[index + 1 :]]
            )
    elif (other := _other(value)) is not None:
        yield "", other


def _operators(matcher: Mapping[str, Any]) -> Iterator[Change]:
    for name, operand in matcher.items():
        rest = {each: value for each, value in matcher.items() if each != name}
        if name in _OPPOSITES:
            yield f".{name}", {**rest, _OPPOSITES[name]: operand}
        elif name in _CHANGED:
            new = _CHANGED[name](operand)
            if new is not None:
                yield f".{name}", {**rest, name: new}
        elif name in ("equals", "contains", "all", "any", "containsInOrder", "count", "allOf", "match"):
            if name == "match" and "atMost" in matcher:
                continue  # with another pattern fewer match, which is as good
            yield from _inside(f".{name}", expected(operand), lambda new, name=name, rest=rest: {**rest, name: new})


_OPPOSITES = {
    "absent": "exists",
    "notEquals": "equals",
    "notContains": "contains",
    "notMatches": "matches",
    "notIn": "in",
    "none": "any",
    "before": "after",
    "after": "before",
    "olderThan": "newerThan",
    "newerThan": "olderThan",
}


def _more(operand: Any) -> Any:
    return operand + 1000 if _is_number(operand) else None


def _less(operand: Any) -> Any:
    return -1 if _is_number(operand) else None


_CHANGED: Mapping[str, Callable[[Any], Any]] = {
    "matches": lambda operand: "^nobody ever prints this$",
    "gt": lambda operand: _HUGE if _is_number(operand) else None,
    "ge": lambda operand: _HUGE if _is_number(operand) else None,
    "lt": _less,
    "le": _less,
    "in": lambda operand: ["none of them"],
    "inCIDR": lambda operand: _NOWHERE,
    "exists": lambda operand: not operand,
    "semver": lambda operand: ">=99",
    "exactly": _more,
    "atLeast": _more,
}


def _other(value: Any) -> Any:
    """Another value of the same type; None where there is none to take."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case "Established":
            return "OpenSent"  # a step refuses what is no state of a session
        case str() if re.fullmatch(r"[\d.]+/\d+", value):
            return "192.0.2.192/27"  # for documentation, as _NOWHERE
        case str() if re.fullmatch(r"\d+(\.\d+){3}", value):
            return "192.0.2.193"
        case str():
            return f"{value}-changed"
        case _:
            return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _inside(place: str, changes: Iterator[Change], put: Callable[[Any], Any]) -> Iterator[Change]:
    for where, new in changes:
        yield place + where, put(new)


def _outcome(value: Any) -> Iterator[Change]:
    if isinstance(value, str):
        yield "", _OUTCOMES.get(value, "refused")
    elif isinstance(value, list):
        yield "", [outcome for outcome in ("refused", "rejected", "dropped") if outcome not in value]
    elif "default" in value and isinstance(value["default"], str):
        yield ".default", {**value, "default": _OUTCOMES[value["default"]]}


def _texts(value: str | list[str]) -> Iterator[Change]:
    """A text, or one of several; regular expressions as well."""
    if isinstance(value, str):
        yield "", f"{value}-changed"
    else:
        yield "", [*value[:-1], f"{value[-1]}-changed"]


def _all_of_them(patterns: list[Any]) -> Iterator[Change]:
    """Each of several alternatives, so that none is left."""
    changed = [next(expected(pattern), None) for pattern in patterns]
    if None not in changed:
        yield "", [change[1] for change in changed if change is not None]


def _end(value: str | list[str]) -> Iterator[Change]:
    yield "", [end for end in _ENDS if end not in ([value] if isinstance(value, str) else value)]


def _condition(value: str) -> Iterator[Change]:
    name, _, wanted = value.partition("=")
    yield "", f"{name}={'True' if wanted == 'False' else 'False'}"


def _to(other: Any) -> Callable[[Any], Iterator[Change]]:
    return lambda value: iter([("", other)])


def _path_match(value: Mapping[str, Any]) -> Iterator[Change]:
    matcher = {name: operand for name, operand in value.items() if name != "path"}
    for where, new in expected(matcher):
        yield where, {"path": value["path"], **new}


def _items(value: Mapping[str, Any]) -> Iterator[Change]:
    """What items are like, and how many there are; which of them are meant stays."""
    for name in ("match", "exactly", "count") if value.get("count") != 0 else ("count",):
        if name in value:
            yield from _inside(f".{name}", expected(value[name]), lambda new, name=name: {**value, name: new})


_PRINTED = {"stdout": expected, "stderr": expected, "exitCode": expected}

_PROBED = {"expect": _outcome, "reply": expected}

_FIELDS: Mapping[str, Mapping[str, Callable[[Any], Iterator[Change]]]] = {
    "assert": {"match": expected, "count": expected, "anyOf": _all_of_them, "allOf": expected},
    "bgp": {"sessions": _items, "routes": _items},
    "connectivity": {"expect": _outcome, "sourceIP": _to(_NOWHERE)},
    "curl": {"status": expected, "headers": expected, "body": expected, "json": expected, "expect": _outcome},
    "dns": {"rcode": _to("NOTIMP"), "answers": expected, "ttl": expected, "flags": expected, "expect": _outcome},
    "events": {"reason": expected, "message": expected, "count": expected},
    "exec": _PRINTED,
    "jsonpath": {
        name: (
            lambda operand, name=name: ((where, new[name]) for where, new in _operators({name: operand}) if name in new)
        )
        for name in (
            "equals",
            "contains",
            "matches",
            "gt",
            "ge",
            "lt",
            "le",
            "in",
            "inCIDR",
            "count",
            "exists",
            "all",
            "any",
        )
    },
    "logs": {"contains": _texts, "matches": _texts},
    "metrics": {"value": expected, "delta": expected, "rate": expected, "count": expected},
    "script": _PRINTED,
    "stop": {"status": _end, "match": expected},
    "tcp": _PROBED,
    "udp": _PROBED,
    "wait-for": {"condition": _condition, "count": expected, "jsonpath": _path_match},
}

"""The operators of matchers: what each says, when it holds, and what is wrong with an operand before anything runs."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from koalesce.matching.diff import render
from koalesce.matching.mismatch import MISSING, Mismatch, member
from koalesce.matching.quantity import ordered
from koalesce.matching.regex import LONGEST_TEXT, compile_regex

# Compares a pattern with a value: `partial.partial_match`, which in turn uses this module.
Match = Callable[[Any, Any], list[Mismatch]]
Problems = Callable[[Any], list[str]]


class Unfit(Exception):  # not an error: a value that an operator can't look at
    """The value is of a kind that the operator says nothing about; the text is a clause about the value."""


@dataclass(frozen=True, slots=True)
class Operator:
    """`phrase(operand)` completes "expected …"; `check` gives the mismatches; `problem(operand)` is said at validation."""

    phrase: Callable[[Any], str]
    check: Callable[[Any, Any, Match], list[Mismatch]]
    problem: Callable[[Any, Problems], list[str]]


def is_operators(value: Any) -> bool:
    """Whether a map consists of operators only, and so is a matcher and no map to find in the actual value."""
    return isinstance(value, Mapping) and bool(value) and all(key in OPERATORS or key == "match" for key in value)


def apply(operators: Mapping[str, Any], value: Any, match: Match) -> list[Mismatch]:
    """What a value lacks of a matcher: the mismatches of the first operator that doesn't hold; none if all hold."""
    for name, operand in _paired(operators):
        if found := OPERATORS[name].check(operand, value, match):
            return found
    return []


def problems(operators: Mapping[str, Any], nested: Problems) -> list[str]:
    """What is wrong with the operators of a matcher, as sentences; operands that hold `${{ }}` are looked at later."""
    found = [
        below(name, problem)
        for name, operand in _paired(operators)
        if not is_unresolved(operand)
        for problem in OPERATORS[name].problem(operand, nested)
    ]
    counted = [name for name in _COUNTED if name in operators]
    if len(counted) > 1:
        found.append(f"{counted[0]} and {counted[1]} can't stand together")
    if bool(counted) != ("match" in operators):
        found.append(
            "exactly, atLeast and atMost need match, as in {exactly: 2, match: {type: Ready}}, and match needs one of them"
        )
    return found


def distance(mismatches: Sequence[Mismatch]) -> int:
    """How far a candidate is from what was looked for: what names it counts more than what it says."""
    return sum(4 if mismatch.path in _NAMING else 1 for mismatch in mismatches)


def is_unresolved(operand: Any) -> bool:
    """Whether an operand is text with an expression that isn't resolved yet."""
    return isinstance(operand, str) and "${{" in operand


def below(place: str, problem: str) -> str:
    """A problem seen from further up: `.spec` and `.x: bad` are `.spec.x: bad`."""
    return place + problem if problem.startswith((".", "[")) else f"{place}: {problem}"


def suggestion(name: str) -> str:
    """`; did you mean the operator gt?`, or nothing."""
    close = difflib.get_close_matches(name, OPERATORS, n=1, cutoff=0.7)
    return f"; did you mean the operator {close[0]}?" if close else ""


def equal(expected: Any, actual: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, but true isn't 1, and "3" isn't 3."""
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return expected.keys() == actual.keys() and all(equal(expected[key], actual[key]) for key in expected)
    if isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
        return len(expected) == len(actual) and all(map(equal, expected, actual))
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return expected == actual
    return type(expected) is type(actual) and bool(expected == actual)


def unequal(expected: Any, actual: Any) -> Mismatch:
    """The mismatch of two values that aren't equal, with a hint where only the quotes differ."""
    said = f"is {render(actual)}, expected {render(expected)}"
    if isinstance(expected, str) != isinstance(actual, str) and _bare(expected) == _bare(actual) is not None:
        said += f" (a {_kind(expected)}, not a {_kind(actual)}: mind the quotes)"
    return Mismatch("", render(expected), render(actual), said)


def _bare(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", dict: "map", list: "list"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "map")


def _paired(operators: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Operators with operands; `match` joins the counting operator beside it."""
    return [
        (name, (operand, operators.get("match")) if name in _COUNTED else operand)
        for name, operand in operators.items()
        if name != "match"
    ]


def _simple(
    phrase: Callable[[Any], str],
    holds: Callable[[Any, Any], bool],
    problem: Callable[[Any], str | None] = lambda operand: None,
) -> Operator:
    def check(operand: Any, value: Any, match: Match) -> list[Mismatch]:
        expected = phrase(operand)
        try:
            if holds(operand, value):
                return []
        except Unfit as unfit:
            return [Mismatch("", expected, render(value), f"is {render(value)}, {unfit}; expected {expected}")]
        return [Mismatch("", expected, render(value), f"is {render(value)}, expected {expected}")]

    return Operator(phrase, check, lambda operand, nested: [said] if (said := problem(operand)) else [])


def _compared(operand: Any, value: Any, holds: Callable[[Any, Any], bool]) -> bool:
    left, right = ordered(value), ordered(operand)
    if left is None:
        raise Unfit(
            "which is no number, quantity or time" if value is not MISSING else "so there is nothing to compare"
        )
    if right is None or type(left) is not type(right):
        raise Unfit(f"which can't be compared with {render(operand)}")
    return holds(left, right)


def _comparison(sign: str, holds: Callable[[Any, Any], bool]) -> Operator:
    return _simple(
        lambda operand: f"{sign} {operand}",
        lambda operand, value: _compared(operand, value, holds),
        lambda operand: None if ordered(operand) is not None else f"{render(operand)} is no number, quantity or time",
    )


def _searched(pattern: str, value: Any) -> bool:
    if not isinstance(value, str):
        raise Unfit("which is no string")
    if len(value) > LONGEST_TEXT:
        raise Unfit(f"which has {len(value)} characters; a regular expression looks at {LONGEST_TEXT} at most")
    return compile_regex(pattern).search(value) is not None


def _regex_problem(pattern: Any) -> str | None:
    if not isinstance(pattern, str):
        return f"{render(pattern)} is no regular expression; put it in quotes"
    try:
        compile_regex(pattern)
    except ValueError as error:
        return str(error)
    return None


def _excludes(operand: Any, value: Any) -> bool:
    if not isinstance(value, str | list):
        raise Unfit("which is neither a string nor a list")
    return not (operand in value if isinstance(value, str) and isinstance(operand, str) else _has(operand, value))


def _has(operand: Any, value: Any) -> bool:
    if isinstance(value, str):
        raise Unfit(f"which can't contain the {_kind(operand)} {render(operand)}")
    return any(equal(operand, item) for item in value)


def _contains(operand: Any, value: Any, match: Match) -> list[Mismatch]:
    expected = f"to contain {render(operand)}"
    if isinstance(value, str) and isinstance(operand, str):
        return [] if operand in value else [_whole(expected, value)]
    if isinstance(value, Mapping) and isinstance(operand, str):
        return [] if operand in value else [_whole(f"to contain the key {render(operand)}", value)]
    if isinstance(value, Mapping) and isinstance(operand, Mapping):
        return [
            mismatch.under(member("", key))
            for key, wanted in operand.items()
            for mismatch in match(wanted, value.get(key, MISSING))
        ]
    if isinstance(value, list):
        wanted = operand if isinstance(operand, list) else [operand]
        return [mismatch for one in wanted for mismatch in _some(one, value, match)]
    return [Mismatch("", expected, render(value), f"is {render(value)}, which contains nothing; expected {expected}")]


def _whole(expected: str, value: Any) -> Mismatch:
    return Mismatch("", expected, render(value), f"is {render(value)}, expected {expected}")


def _elements(value: Any, expected: str) -> list[tuple[str, Any]] | Mismatch:
    """The elements of a list, or values of a map, with their paths; or why there are none to look at."""
    if isinstance(value, list):
        return [(member("", index), item) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return [(member("", str(key)), item) for key, item in value.items()]
    return Mismatch("", expected, render(value), f"is {render(value)}, which is no list; expected {expected}")


def _every(pattern: Any, value: Any, match: Match) -> list[Mismatch]:
    expected = f"all elements to match {render(pattern)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    if not elements:
        return [Mismatch("", expected, "no elements", f"is empty, so there is nothing to check; expected {expected}")]
    return [mismatch.under(path) for path, item in elements for mismatch in match(pattern, item)]


def _some(pattern: Any, value: Any, match: Match) -> list[Mismatch]:
    expected = f"an element that matches {render(pattern)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    looked = [(path, match(pattern, item)) for path, item in elements]
    if any(not found for _, found in looked):
        return []
    if not looked:
        return [Mismatch("", expected, "no elements", f"is empty, expected {expected}")]
    path, nearest = min(looked, key=lambda one: distance(one[1]))
    said = "; ".join(str(mismatch.under(path)) for mismatch in nearest[:3])
    return [
        Mismatch(
            "", expected, f"{len(looked)} others", f"has no element that matches {render(pattern)}; nearest: {said}"
        )
    ]


def _no_element(pattern: Any, value: Any, match: Match) -> list[Mismatch]:
    expected = f"no element that matches {render(pattern)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    return [
        Mismatch(path, expected, render(item), f"is {render(item)}, expected {expected}")
        for path, item in elements
        if not match(pattern, item)
    ]


def _counted(word: str, holds: Callable[[int, int], bool]) -> Operator:
    def phrase(operand: Any) -> str:
        number, pattern = operand
        return f"{word} {number} elements to match {render(pattern)}"

    def check(operand: Any, value: Any, match: Match) -> list[Mismatch]:
        number, pattern = operand
        elements = _elements(value, phrase(operand))
        if isinstance(elements, Mismatch):
            return [elements]
        hits = [path for path, item in elements if not match(pattern, item)]
        if holds(len(hits), number):
            return []
        said = f"{len(hits)} of {len(elements)} elements match" + (f" ({', '.join(hits[:10])})" if hits else "")
        return [Mismatch("", phrase(operand), str(len(hits)), f"{said}, expected {phrase(operand)}")]

    def problem(operand: Any, nested: Problems) -> list[str]:
        number, pattern = operand
        found = [] if _is_count(number) else [f"{render(number)} is no count; a count is 0 or more"]
        return found + nested(pattern)

    return Operator(phrase, check, problem)


def _is_count(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool) and value >= 0) or is_unresolved(value)


def _in_order(patterns: Any, value: Any, match: Match) -> list[Mismatch]:
    expected = f"elements in the order {render(patterns)}"
    elements = _elements(value, expected)
    if isinstance(elements, Mismatch):
        return [elements]
    at = 0
    for pattern in patterns:
        hit = next((index for index in range(at, len(elements)) if not match(pattern, elements[index][1])), None)
        if hit is None:
            where = f"after {elements[at - 1][0]}" if at else "at all"
            said = f"has no element that matches {render(pattern)} {where}, expected {expected}"
            return [Mismatch("", expected, render(value), said)]
        at = hit + 1
    return []


def _count(operand: Any, value: Any, match: Match) -> list[Mismatch]:
    expected = _count_phrase(operand)
    if not isinstance(value, list | Mapping):
        return [
            Mismatch(
                "", expected, render(value), f"is {render(value)}, which has no elements to count; expected {expected}"
            )
        ]
    if not match(operand, len(value)):
        return []
    return [Mismatch("", expected, str(len(value)), f"has {_plural(len(value))}, expected {expected}")]


def _count_phrase(operand: Any) -> str:
    if not isinstance(operand, Mapping):
        return _plural(operand)
    return "a count " + " and ".join(OPERATORS[name].phrase(bound) for name, bound in operand.items())


def _plural(number: Any) -> str:
    return "1 element" if number == 1 else f"{number} elements"


def _count_problem(operand: Any, nested: Problems) -> list[str]:
    if is_operators(operand):
        return nested(operand)
    return (
        [] if _is_count(operand) else [f"{render(operand)} is no count; write a number, or a comparison as {{ge: 2}}"]
    )


def _unique(operand: Any, value: Any) -> bool:
    if not isinstance(value, list):
        raise Unfit("which is no list")
    if not value:
        raise Unfit("so there is nothing to check")
    repeated = any(equal(one, other) for index, one in enumerate(value) for other in value[:index])
    return repeated is not operand


def _in_network(operand: Any, value: Any) -> bool:
    if not isinstance(value, str):
        raise Unfit("which is no address")
    try:
        address = ipaddress.ip_address(value)
    except ValueError as error:
        raise Unfit("which is no address") from error
    return address in ipaddress.ip_network(operand)


def _network_problem(operand: Any) -> str | None:
    try:
        ipaddress.ip_network(operand)
    except ValueError as error:
        return f"{error}; write a network such as 10.244.0.0/16"
    return None


def _listed(operand: Any) -> str | None:
    return None if isinstance(operand, list) and operand else "needs a list of values that isn't empty"


def _boolean(operand: Any) -> str | None:
    return None if isinstance(operand, bool) else "is true or false"


def _nested_in(pattern: Any, nested: Problems) -> list[str]:
    return nested(pattern)


def _patterns(operand: Any, nested: Problems) -> list[str]:
    if not isinstance(operand, list) or not operand:
        return ["needs a list that isn't empty"]
    return [problem for pattern in operand for problem in nested(pattern)]


def _quantifier(phrase: str, check: Callable[[Any, Any, Match], list[Mismatch]]) -> Operator:
    return Operator(lambda pattern: f"{phrase} {render(pattern)}", check, _nested_in)


def _equals(operand: Any, value: Any, match: Match) -> list[Mismatch]:
    return [] if equal(operand, value) else [unequal(operand, value)]


_NAMING = frozenset({".type", ".name", ".key", ".metadata.name", ""})
_COUNTED = ("exactly", "atLeast", "atMost")
OPERATORS: Mapping[str, Operator] = {
    "all": _quantifier("all elements to match", _every),
    "any": _quantifier("an element that matches", _some),
    "atLeast": _counted("at least", lambda hits, number: hits >= number),
    "atMost": _counted("at most", lambda hits, number: hits <= number),
    "contains": Operator(lambda operand: f"to contain {render(operand)}", _contains, lambda operand, nested: []),
    "containsInOrder": Operator(lambda operand: f"elements in the order {render(operand)}", _in_order, _patterns),
    "count": Operator(_count_phrase, _count, _count_problem),
    "equals": Operator(render, _equals, lambda operand, nested: []),
    "exactly": _counted("exactly", lambda hits, number: hits == number),
    "exists": _simple(
        lambda operand: "a value" if operand else "nothing there",
        lambda operand, value: (value is not MISSING and value is not None) is operand,
        _boolean,
    ),
    "ge": _comparison("≥", lambda left, right: left >= right),
    "gt": _comparison(">", lambda left, right: left > right),
    "in": _simple(
        lambda operand: f"one of {render(operand)}",
        lambda operand, value: any(equal(one, value) for one in operand),
        _listed,
    ),
    "inCIDR": _simple(lambda operand: f"an address in {operand}", _in_network, _network_problem),
    "le": _comparison("≤", lambda left, right: left <= right),
    "lt": _comparison("<", lambda left, right: left < right),
    "matches": _simple(lambda operand: f"to match /{operand}/", _searched, _regex_problem),
    "none": _quantifier("no element that matches", _no_element),
    "notContains": _simple(lambda operand: f"not to contain {render(operand)}", _excludes),
    "notEquals": _simple(
        lambda operand: f"anything but {render(operand)}",
        lambda operand, value: value is not MISSING and not equal(operand, value),
    ),
    "notIn": _simple(
        lambda operand: f"none of {render(operand)}",
        lambda operand, value: value is not MISSING and not any(equal(one, value) for one in operand),
        _listed,
    ),
    "notMatches": _simple(
        lambda operand: f"not to match /{operand}/",
        lambda operand, value: not _searched(operand, value),
        _regex_problem,
    ),
    "unique": _simple(lambda operand: "distinct elements" if operand else "repeated elements", _unique, _boolean),
}

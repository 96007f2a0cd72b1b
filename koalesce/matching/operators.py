"""The operators of matchers: what each says, when it holds, and what is wrong with an operand before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from koalesce.matching.comparisons import age, comparison, in_network, in_range, moment
from koalesce.matching.diff import render
from koalesce.matching.equality import canonical, equal, kind_of, unequal
from koalesce.matching.flaws import Flaw
from koalesce.matching.mismatch import MISSING, Mismatch, member
from koalesce.matching.operator import Match, Operator, Problems, Unfit, flaws, is_unresolved, simple, whole
from koalesce.matching.quantifiers import (
    all_of,
    any_of,
    counted,
    every,
    in_order,
    is_count,
    no_element,
    patterns_problems,
    some,
)
from koalesce.matching.regex import LONGEST_TEXT, compile_regex


def is_operators(value: Any) -> bool:
    """Whether a map consists of operators only, and so is a matcher and no map to find in the actual value."""
    return isinstance(value, Mapping) and bool(value) and all(key in OPERATORS or key == "match" for key in value)


def apply(operators: Mapping[str, Any], value: Any, match: Match) -> list[Mismatch]:
    """What a value lacks of a matcher: the mismatches of the first operator that doesn't hold; none if all hold."""
    for name, operand in _paired(operators):
        if found := OPERATORS[name].check(operand, value, match):
            return found
    return []


def problems(operators: Mapping[str, Any], nested: Problems) -> list[Flaw]:
    """What is wrong with the operators of a matcher; operands that hold `${{ }}` are looked at later."""
    found = [
        flaw.under(name)
        for name, operand in _paired(operators)
        if not is_unresolved(operand)
        for flaw in OPERATORS[name].problem(operand, nested)
    ]
    if "match" in operators:
        found += [flaw.under("match") for flaw in nested(operators["match"])]
    counted = [name for name in _COUNTED if name in operators]
    if len(counted) > 1:
        found.append(Flaw((), f"{counted[0]} and {counted[1]} can't stand together"))
    if bool(counted) != ("match" in operators):
        said = "exactly, atLeast and atMost need match, as in {exactly: 2, match: {type: Ready}}, and match needs one of them"
        meant = "" if counted else _instead_of_match(operators["match"])
        found.append(Flaw((), said + meant))
    return found


def _instead_of_match(operand: Any) -> str:
    """What somebody may have meant who says `match` of a text or a list by itself; nothing for a pattern of a map."""
    match operand:
        case str():
            return "; did you mean matches (a regular expression) or equals?"
        case dict():
            return ""
        case _:
            return "; did you mean equals?"


def suggestion(name: str) -> str:
    """`; did you mean the operator gt?`, or nothing."""
    import difflib  # imported here: only mistakes need it

    close = [_ELSEWHERE[name]] if name in _ELSEWHERE else difflib.get_close_matches(name, OPERATORS, n=1, cutoff=0.7)
    return f"; did you mean the operator {close[0]}?" if close else ""


def _paired(operators: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Operators with operands; `match` joins the counting operator beside it."""
    return [
        (name, (operand, operators.get("match")) if name in _COUNTED else operand)
        for name, operand in operators.items()
        if name != "match"
    ]


def _searched(pattern: str, value: Any) -> bool:
    if not isinstance(value, str):
        raise Unfit("which is no string")
    if len(value) > LONGEST_TEXT:
        raise Unfit(f"which has {len(value)} characters; a regular expression looks at {LONGEST_TEXT} at most")
    try:
        return compile_regex(pattern).search(value) is not None
    except ValueError as error:  # one that couldn't be checked before: in an expression, or in what may be a map's key
        raise Unfit(str(error)) from error


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
        raise Unfit(f"which can't contain the {kind_of(operand)} {render(operand)}")
    return any(equal(operand, item) for item in value)


def _contains(operand: Any, value: Any, match: Match) -> list[Mismatch]:
    expected = f"to contain {render(operand)}"
    if isinstance(value, str) and isinstance(operand, str):
        return [] if operand in value else [whole(expected, value)]
    if isinstance(value, Mapping) and isinstance(operand, str):
        return [] if operand in value else [whole(f"to contain the key {render(operand)}", value)]
    if isinstance(value, Mapping) and isinstance(operand, Mapping):
        return [
            mismatch.under(member("", key))
            for key, wanted in operand.items()
            for mismatch in match.below(key)(wanted, value.get(key, MISSING))
        ]
    if isinstance(value, list):
        wanted = operand if isinstance(operand, list) else [operand]
        return [mismatch for one in wanted for mismatch in some(one, value, match)]
    return [Mismatch("", expected, render(value), f"is {render(value)}, which contains nothing; expected {expected}")]


def _count(operand: Any, value: Any, match: Match) -> list[Mismatch]:
    expected = _count_phrase(operand)
    value = [] if value is None else value  # Go writes an empty list that nobody has made as null
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


def _count_problem(operand: Any, nested: Problems) -> list[Flaw]:
    if is_operators(operand):
        return nested(operand)
    said = f"{render(operand)} is no count; write a number, or a comparison as {{ge: 2}}"
    return flaws(None if is_count(operand) else said)


def _unique(operand: Any, value: Any) -> bool:
    if not isinstance(value, list):
        raise Unfit("which is no list")
    if not value:
        raise Unfit("so there is nothing to check")
    is_repeated = len({canonical(item) for item in value}) < len(value)
    return is_repeated is not operand


def _listed(operand: Any) -> str | None:
    return None if isinstance(operand, list) and operand else "needs a list of values that isn't empty"


def _boolean(operand: Any) -> str | None:
    return None if isinstance(operand, bool) else "is true or false"


def _only_true(operand: Any) -> str | None:
    return None if operand is True else "is true; of what has to be there say exists: true"


def _pattern_problems(operand: Any, nested: Problems) -> list[Flaw]:
    return nested(operand)


def _text_problem(operand: Any, nested: Problems) -> list[Flaw]:
    """Of an operand that's a pattern, or a list of patterns, for elements."""
    if isinstance(operand, list) and not operand:
        return flaws("needs a list that isn't empty")
    return [] if is_operators(operand) else nested(operand)  # of a map, keys that are called like operators are meant


def _quantifier(phrase: str, check: Callable[[Any, Any, Match], list[Mismatch]]) -> Operator:
    return Operator(lambda pattern: f"{phrase} {render(pattern)}", check, _pattern_problems)


def _equals(operand: Any, value: Any, match: Match) -> list[Mismatch]:
    return [] if equal(operand, value) else [unequal(operand, value)]


# What other languages call them.
_ELSEWHERE: Mapping[str, str] = {
    "eq": "equals", "ne": "notEquals", "gte": "ge", "lte": "le", "min": "ge", "max": "le", "regex": "matches", "len": "count",
    "length": "count", "size": "count", "every": "all", "some": "any", "oneOf": "anyOf", "cidr": "inCIDR", "version": "semver",
}  # fmt: skip
_COUNTED = ("exactly", "atLeast", "atMost")
OPERATORS: Mapping[str, Operator] = {
    "absent": simple(
        lambda operand: "nothing there",
        lambda operand, value: value is MISSING or value is None,
        _only_true,
    ),
    "after": moment("after", lambda value, bound: value > bound),
    "all": _quantifier("all elements to match", every),
    "allOf": Operator(lambda operand: f"all of {render(operand)}", all_of, patterns_problems),
    "any": _quantifier("an element that matches", some),
    "anyOf": Operator(lambda operand: f"one of {render(operand)}", any_of, patterns_problems),
    "atLeast": counted("at least", lambda hits, number: hits >= number),
    "atMost": counted("at most", lambda hits, number: hits <= number),
    "before": moment("before", lambda value, bound: value < bound),
    "contains": Operator(lambda operand: f"to contain {render(operand)}", _contains, _text_problem),
    "containsInOrder": Operator(
        lambda operand: f"elements in the order {render(operand)}", in_order, patterns_problems
    ),
    "count": Operator(_count_phrase, _count, _count_problem),
    "equals": Operator(render, _equals, lambda operand, nested: []),
    "exactly": counted("exactly", lambda hits, number: hits == number),
    "exists": simple(
        lambda operand: "a value" if operand else "nothing there",
        lambda operand, value: (value is not MISSING and value is not None) is operand,
        _boolean,
    ),
    "ge": comparison("≥", lambda left, right: left >= right),
    "gt": comparison(">", lambda left, right: left > right),
    "in": simple(
        lambda operand: f"one of {render(operand)}",
        lambda operand, value: any(equal(one, value) for one in operand),
        _listed,
    ),
    "inCIDR": in_network(),
    "le": comparison("≤", lambda left, right: left <= right),
    "lt": comparison("<", lambda left, right: left < right),
    "matches": simple(lambda operand: f"to match /{operand}/", _searched, _regex_problem),
    "newerThan": age("less", lambda value, bound: value < bound),
    "none": _quantifier("no element that matches", no_element),
    "notContains": simple(lambda operand: f"not to contain {render(operand)}", _excludes),
    "notEquals": simple(
        lambda operand: f"anything but {render(operand)}",
        lambda operand, value: value is not MISSING and not equal(operand, value),
    ),
    "notIn": simple(
        lambda operand: f"none of {render(operand)}",
        lambda operand, value: value is not MISSING and not any(equal(one, value) for one in operand),
        _listed,
    ),
    "notMatches": simple(
        lambda operand: f"not to match /{operand}/",
        lambda operand, value: not _searched(operand, value),
        _regex_problem,
    ),
    "olderThan": age("more", lambda value, bound: value > bound),
    "semver": in_range(),
    "unique": simple(lambda operand: "distinct elements" if operand else "repeated elements", _unique, _boolean),
}

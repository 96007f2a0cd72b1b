"""Versions as semver orders them (https://semver.org), and comparisons with them such as `>=1.36 <2`."""

from __future__ import annotations

from koalesce.patterns import pattern

_VERSION = pattern(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:-([0-9A-Za-z.-]{1,64}))?(?:\+[0-9A-Za-z.-]{1,64})?")
_TERM = pattern(r"(>=|<=|!=|==|=|>|<)?\s*(\S+)")
_TERMS = pattern(r"(?:(?:>=|<=|!=|==|=|>|<)\s*)?[^\s,<>=!]+")

Prerelease = tuple[tuple[int, int, str], ...]
Version = tuple[tuple[int, ...], Prerelease]
# No pre-release comes after all pre-releases of the same numbers.
_RELEASED: Prerelease = ((2, 0, ""),)


def parse_version(text: str) -> Version | None:
    """Numbers (as many as are written) and pre-release; None if the text is no version. What stands after `+` doesn't count."""
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        return None
    numbers = tuple(int(part) for part in found.groups()[:3] if part is not None)
    return numbers, _prerelease(found[4])


def parse_range(text: str) -> list[tuple[str, Version]]:
    """`>=1.34 <1.37` as comparisons, all of which must hold; ValueError with an example for anything else."""
    terms = _TERMS.findall(text)
    found: list[tuple[str, Version]] = []
    for term in terms:
        match = _TERM.fullmatch(term)
        version = parse_version(match[2]) if match else None
        if match is None or version is None:
            raise ValueError(f'"{term}" is no comparison of versions; write ">=1.36", or ">=1.34 <1.37"')
        found.append((match[1] or "=", version))
    if not found or _TERMS.sub("", text).strip(" ,"):
        raise ValueError(f'"{text}" is no comparison of versions; write ">=1.36", or ">=1.34 <1.37"')
    return found


def is_in_range(version: Version, wanted: str) -> bool:
    """Whether a version fits all comparisons, each as exact as it's written (`1.37` is any 1.37.x, pre-releases included)."""
    return all(_fits(version, operator, bound) for operator, bound in parse_range(wanted))


def _fits(version: Version, operator: str, bound: Version) -> bool:
    exact = len(bound[0]) == 3
    numbers = (*version[0], 0, 0)[: len(bound[0])]
    left: Version = (numbers, version[1] if exact else _RELEASED)
    right: Version = (bound[0], bound[1] if exact else _RELEASED)
    match operator:
        case ">=":
            return left >= right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case "<":
            return left < right
        case "!=":
            return left != right
        case _:
            return left == right


def _prerelease(text: str | None) -> Prerelease:
    """Identifiers in order: numbers before words, numbers by value."""
    if text is None:
        return _RELEASED
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split("."))

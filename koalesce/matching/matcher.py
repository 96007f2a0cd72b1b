"""Matchers: what a value must be like, as authors write it in every field that takes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from koalesce.matching import operators
from koalesce.matching.flaws import refuse
from koalesce.matching.mismatch import Mismatch
from koalesce.matching.partial import Matching, partial_match, problems
from koalesce.models import Model

_DENIALS = frozenset({"absent", "exists", "notContains", "notEquals", "notIn", "notMatches"})
Comparable = StrictInt | StrictFloat | StrictStr


class MatcherFields(Model):
    """The operators of a matcher as fields; all that are given must hold. A step that matches inherits them."""

    equals: Any = None
    """Equal to this JSON value; types count: `3` isn't `"3"`."""
    not_equals: Any = None
    """There, and not equal to this."""
    contains: Any = None
    """A string has this part; a list has an element (or each of a list of elements) that matches this; a map has this part."""
    not_contains: Any = None
    """A string hasn't this part; a list has no such element."""
    matches: StrictStr | None = None
    """A string in which this regular expression is found (`^` and `$` match at every line)."""
    not_matches: StrictStr | None = None
    """A string in which this regular expression isn't found."""
    gt: Comparable | None = None
    """Greater than this number, quantity (`500m`, `64Mi`) or time."""
    ge: Comparable | None = None
    """Greater than this, or equal."""
    lt: Comparable | None = None
    """Less than this."""
    le: Comparable | None = None
    """Less than this, or equal."""
    in_: list[Any] | StrictStr | None = Field(default=None, alias="in")
    """Equal to one of these."""
    in_cidr: StrictStr | None = Field(default=None, alias="inCIDR")
    """An IP address (or a smaller network) out of this network, such as `10.244.0.0/16`."""
    not_in: list[Any] | StrictStr | None = None
    """There, and equal to none of these."""
    count: StrictInt | StrictStr | dict[str, Any] | None = None
    """A list of so many elements, or of a count as in `{ge: 2}`; null is a list without elements, as programs write it."""
    absent: StrictBool | None = None
    """`true`: there is no such value; null counts as none. That what should hold it is missing, too, proves nothing. Where nobody knows
    which fields there can be (in JSON that programs write, and in custom kinds) a misspelt name is absent as well: match something beside it
    that has to be there."""
    before: StrictStr | None = None
    """A time before this one, as `2026-01-31T12:00:00Z`."""
    after: StrictStr | None = None
    """A time after this one."""
    older_than: StrictStr | None = None
    """A time more than this long ago (`5m`), by the API server's clock; only of values of objects."""
    newer_than: StrictStr | None = None
    """A time less than this long ago, or yet to come."""
    semver: StrictStr | None = None
    """A version that fits comparisons: `">=1.36"`, `">=1.34 <1.37"`; each as exact as it's written, so that `"1.37"` is any 1.37.x."""
    unique: StrictBool | None = None
    """A list without two equal elements."""
    exists: StrictBool | None = None
    """Whether there is such a value; null counts as none."""
    all_: Any = Field(default=None, alias="all")
    """Each element of a list matches this; an empty list doesn't."""
    any_: Any = Field(default=None, alias="any")
    """At least one element of a list matches this."""
    none: Any = None
    """No element of a list matches this."""
    exactly: StrictInt | StrictStr | None = None
    """So many elements of a list match `match`."""
    at_least: StrictInt | StrictStr | None = None
    """At least so many elements of a list match `match`."""
    at_most: StrictInt | StrictStr | None = None
    """At most so many elements of a list match `match`."""
    any_of: list[Any] | None = None
    """At least one of these expectations holds."""
    all_of: list[Any] | None = None
    """Each of these expectations holds."""
    match: Any = None
    """What `exactly`, `atLeast` and `atMost` count."""
    contains_in_order: list[Any] | None = None
    """A list in which elements that match these come in this order, others between them allowed."""

    @model_validator(mode="after")
    def _check_operands(self) -> MatcherFields:
        refuse(operators.problems(self.operators(), problems), self)
        return self

    def operators(self) -> dict[str, Any]:
        """The operators that were given, by the names that authors write."""
        fields = MatcherFields.model_fields
        return {fields[name].alias or name: getattr(self, name) for name in fields if name in self.model_fields_set}

    @property
    def only_denies(self) -> bool:
        """Whether it says only what a value isn't, as nearly all values are."""
        return _only_denies(self.operators())

    def mismatches(self, value: Any, match: Matching = partial_match) -> list[Mismatch]:
        """What the value lacks; none if all operators hold. MISSING stands for a value that isn't there."""
        return operators.apply(self.operators(), value, match)

    def check(self, value: Any, match: Matching = partial_match) -> Mismatch | None:
        """The first thing that the value lacks, or None."""
        found = self.mismatches(value, match)
        return found[0] if found else None


def _only_denies(given: Mapping[str, Any]) -> bool:
    """Of a matcher's operators, those within `anyOf` and `allOf` included."""
    return all(
        name in _DENIALS
        or (name == "anyOf" and any(operators.is_operators(one) and _only_denies(one) for one in operand))
        or (name == "allOf" and all(operators.is_operators(one) and _only_denies(one) for one in operand))
        for name, operand in given.items()
    )


class Matcher(MatcherFields):
    """What a value must be like. A bare scalar or list stands for `equals`."""

    @model_validator(mode="before")
    @classmethod
    def _bare_value_means_equals(cls, value: Any) -> Any:
        if isinstance(value, dict | Matcher):
            return value
        return {"equals": value}

    @model_validator(mode="after")
    def _check_not_empty(self) -> Matcher:
        if not self.operators():
            raise ValueError("a matcher needs at least one operator, such as equals, contains or matches")
        return self

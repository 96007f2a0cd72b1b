"""What is expected of the pairs of a connectivity check."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictStr, field_validator

from koalesce.kube import selector as selectors
from koalesce.models import Model
from koalesce.steps.inside.places import Source
from koalesce.steps.vantage import Selector
from koalesce.steps.wire.destination import Endpoint

Expected = Literal["allowed", "refused", "rejected", "dropped"]
_ALLOWED: tuple[Expected, ...] = ("allowed",)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Outcomes = Annotated[
    list[Expected], BeforeValidator(_as_list, json_schema_input_type=Expected | list[Expected]), Field(min_length=1)
]


class Labelled(Model):
    """Pods of the matrix by their labels."""

    selector: Selector
    """A label selector of `key=value` terms, such as `role=client`, or a map of labels."""

    @field_validator("selector")
    @classmethod
    def _is_not_empty(cls, text: str) -> str:
        if not text:
            raise ValueError("an empty selector means nothing here; leave it out to mean all")
        return text

    def fits(self, one: Source | Endpoint) -> bool:
        """Whether its labels are as wanted."""
        return selectors.parse(self.selector)(one.labels)


class CellRule(Model):
    """What is expected of some pairs of the matrix."""

    from_: StrictStr | Labelled | None = Field(default=None, alias="from")
    """The sources meant: a name (of a pod in another namespace also `namespace/name`), in which `*` and `?` stand for any characters,
    or `{selector: role=client}`; default: all."""

    to: StrictStr | Labelled | None = None
    """The targets meant, in the same way; default: all."""

    expect: Outcomes
    """What must be seen: allowed, refused, rejected or dropped, or a list of them."""

    def fits(self, source: Source, endpoint: Endpoint) -> bool:
        """Whether the rule is about a pair."""
        return _is_meant(self.from_, source) and _is_meant(self.to, endpoint)

    def __str__(self) -> str:
        ends = (("from", self.from_), ("to", self.to))
        said = (f"{name} {end.selector if isinstance(end, Labelled) else end}" for name, end in ends if end is not None)
        return " ".join(said) or "of all pairs"


class Expectations(Model):
    """What is expected, pair by pair: the first rule that fits a pair counts, `default` where none does."""

    default: Outcomes = Field(default_factory=lambda: list(_ALLOWED))
    """What is expected of pairs that no rule is about."""

    cells: list[CellRule] = Field(default_factory=list)
    """Rules about pairs; each must be about at least one."""

    def hopes_for(self, outcome: Expected) -> bool:
        """Whether an outcome would do for any pair."""
        return any(outcome in expected for expected in (self.default, *(rule.expect for rule in self.cells)))

    def of(self, source: Source, endpoint: Endpoint) -> tuple[str, ...]:
        """What is expected of a pair."""
        return tuple(next((rule.expect for rule in self.cells if rule.fits(source, endpoint)), self.default))


def _is_meant(end: str | Labelled | None, one: Source | Endpoint) -> bool:
    if isinstance(end, Labelled):
        return end.fits(one)
    names = [one.name, one.plain] if isinstance(one, Endpoint) and one.plain else [one.name]
    return end is None or any(fnmatchcase(each, end) or fnmatchcase(each.rpartition("/")[2], end) for each in names)


def as_default(value: Any) -> Any:
    """A bare outcome, or a list of them, is what is expected of all pairs."""
    return {"default": value} if isinstance(value, str | list) else value

"""What is expected of the pairs of a connectivity check."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictStr, field_validator

from koalesce.kube import selector as selectors
from koalesce.models import Model
from koalesce.steps.base import Errored, StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.vantage import Selector
from koalesce.steps.wire.agnhost import BY_ICMP, OF_ANSWERS
from koalesce.steps.wire.destination import Endpoint
from koalesce.steps.wire.pod_probe import FROM_PODS

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

    def all(self) -> Iterator[Outcomes]:
        """What is expected anywhere."""
        yield self.default
        yield from (rule.expect for rule in self.cells)

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


def told_by_pods(written: Mapping[str, Any], answers: Collection[str]) -> frozenset[str]:
    """What a step takes of probes in pods, by its fields as they are written; `answers` are those that are about what is answered."""
    found = {FROM_PODS}
    if any(written.get(name) is not None for name in answers):
        found.add(OF_ANSWERS)
    if any(map(_asks_who, _written(written.get("expect")))):
        found.add(BY_ICMP)
    control = written.get("control")
    if isinstance(control, Mapping) and control.get("ownNode"):
        found.add("node-exec")
    return frozenset(found)


def undecidable(expected: Iterable[Collection[str]], sources: Iterable[Source], context: StepContext) -> Errored | None:
    """That what is expected can't be told where the sources are."""
    if BY_ICMP in context.cluster.capabilities or not any(map(_asks_who, expected)):
        return None
    entered = (source.machine is not None and source.machine.exec for source in sources if source.kind == "pod")
    if all(entered):
        return None
    return Errored(f"whether it's refused or rejected can't be told here: the cluster lacks {BY_ICMP}", final=True)


def _asks_who(outcomes: Collection[str]) -> bool:
    """Whether one of `refused` and `rejected` will do, and the other won't."""
    return ("refused" in outcomes) != ("rejected" in outcomes)


def _written(expect: Any) -> Iterator[Collection[str]]:
    """The outcomes that are written below `expect`."""
    if isinstance(expect, str):
        yield [expect]
    elif isinstance(expect, list):
        yield [each for each in expect if isinstance(each, str)]
    elif isinstance(expect, Mapping):
        yield from _written(expect.get("default"))
        cells = expect.get("cells")
        for cell in cells if isinstance(cells, list) else ():
            yield from _written(cell.get("expect") if isinstance(cell, Mapping) else None)

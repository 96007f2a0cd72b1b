"""Items of a state and what is expected of them: which there must be, how many, what they must be like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, StrictInt, field_validator, model_validator

from koalesce.matching import operators
from koalesce.matching.flaws import Flaw, refuse
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import Mismatch, and_more
from koalesce.matching.partial import Matching, member_problems
from koalesce.matching.quantifiers import distance
from koalesce.models import Model
from koalesce.steps.base import Failed, Passed
from koalesce.steps.objects.reading import shortened
from koalesce.steps.state.view import Item, View
from koalesce.suggestions import closest

Part = dict[str, Any]
_SHOWN = 5
_OF_SEVERAL = ("allOf", "anyOf")
_OPERATORS_ARE = f"; there are: {', '.join(operators.OPERATORS)}"


class Items(Model):
    """Which items there must be: at least one, unless `count`, `all` or both say otherwise."""

    where: Part | None = Field(default=None, min_length=1)
    """Only items that match this: maps as parts, scalars as they are, or operators, as in `assert`."""
    match: Part | None = Field(default=None, min_length=1)
    """What an item must be like, as in `assert`."""
    all_: Literal[True] | None = Field(default=None, alias="all")
    """Each item (that `where` leaves) must match, and there has to be one (or as many as `count` says)."""
    count: StrictInt | Part | None = None
    """So many must match, or as many as in `{ge: 2}`; with `all`, so many have to be there."""

    @field_validator("where", "match")
    @classmethod
    def _check_part(cls, part: Part | None) -> Part | None:
        refuse(member_problems(part or {}), part)
        return part

    @model_validator(mode="after")
    def _check_form(self) -> Items:
        if self.all_ and not self.match:
            raise ValueError("all needs match, which says what each of them must be like")
        if self.count is not None:
            Matcher(count=self.count)
        return self

    def judge(self, items: list[Item], view: View, *, may_not_exist: bool) -> Passed | Failed:
        """Whether these are as said; messages don't say where."""
        if not may_not_exist and (stranger := self._stranger(items, view)):
            return Failed(stranger, "a field that they have", "unknown", saw_nothing=True)
        matching = Matching(may_not_exist=may_not_exist)
        meant = [item for item in items if not matching.members(self.where or {}, item)]
        lacking = {index: matching.members(self.match or {}, item) for index, item in enumerate(meant)}
        good = [meant[index] for index, found in lacking.items() if not found]
        number = len(meant) if self.all_ else len(good)
        fits = self._counts(number) and (len(good) == len(meant) or not self.all_)
        if fits:
            return Passed(f"{len(good)} {_plural(view.noun, len(good))}", good)
        return self._failed(view, meant, lacking, len(good))

    def flaws(self, view: View) -> list[Flaw]:
        """Fields that no item of this kind has, and values that none can have."""
        parts = {"where": self.where, "match": self.match}
        return [flaw.under(place) for place, part in parts.items() for flaw in field_flaws(part or {}, view)]

    def _stranger(self, items: list[Item], view: View) -> str:
        """A field that none of the items has, of a kind whose fields aren't known: its absence proves nothing."""
        if view.fields is not None:
            return ""
        known = {key for item in items for key in item}
        unknown = [key for part in (self.where, self.match) for key in part or {} if key not in known]
        return f"no {view.noun} has a field {unknown[0]}" if unknown else ""

    def _counts(self, number: int) -> bool:
        return number > 0 if self.count is None else Matcher(count=self.count).check([None] * number) is None

    def _failed(self, view: View, meant: list[Item], lacking: Mapping[int, list[Mismatch]], good: int) -> Failed:
        bad = sorted((index for index, found in lacking.items() if found), key=lambda index: distance(lacking[index]))
        what = f"{_plural(view.noun, 2)} matching" if self.match else _plural(view.noun, 2)
        of = f" of {len(meant)}" if self.match and meant else ""
        said = f"{good}{of} {what}, expected {self._expected(len(meant))}"
        shown = meant
        if not self.all_ and any(map(self._counts, range(good))):  # too many: these
            shown = [meant[index] for index, found in lacking.items() if not found]
            said += f": {_shown(shown[0], view)}{f' (and {good - 1} more)' if good > 1 else ''}"
        elif bad:
            shown = [meant[index] for index in bad]
            first = lacking[bad[0]]
            said += f"; nearest: {_shown(shown[0], view)}: {shortened(str(first[0]))}{and_more(len(first) - 1, 'difference')}"
        detail = [_shown(item, view) for item in shown[:_SHOWN]]
        detail += [f"… and {len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
        return Failed(said, self._expected(len(meant)), f"{good}{of}", "\n".join(detail))

    def _expected(self, total: int) -> str:
        if self.all_:
            return (
                f"all{'' if self.count is None else f', and {_number(self.count)} of them'}"
                if total
                else "at least one"
            )
        return "at least one" if self.count is None else _number(self.count)


def part_flaws(part: Part, view: View) -> list[Flaw]:
    """All that is wrong with a part of an item of a kind."""
    return [*member_problems(part), *field_flaws(part, view)]


def field_flaws(part: Part, view: View) -> Iterator[Flaw]:
    """Fields that no item of this kind has, and maps that can't be their values: whatever they say would match nothing."""
    for key, value in part.items():
        if view.fields is not None and key not in view.fields:
            near = closest(key, view.fields)
            hint = f'did you mean "{near}"?' if near else f"there are: {', '.join(sorted(view.fields))}"
            yield Flaw((key,), f'a {view.noun} has no field "{key}"; {hint}')
        elif view.maps is None or key not in view.maps:
            yield from (flaw.under(key) for flaw in _no_operators(value, may_be_map=view.maps is None))


def _no_operators(value: Any, *, may_be_map: bool) -> Iterator[Flaw]:
    """Keys of a map that is meant as a matcher, and isn't one. Where the value `may_be_map`, only what is called like an operator."""
    if not isinstance(value, Mapping) or not value:
        return
    if operators.is_operators(value):
        for name in (name for name in _OF_SEVERAL if isinstance(value.get(name), list)):
            for index, one in enumerate(value[name]):
                yield from (flaw.under(name, index) for flaw in _no_operators(one, may_be_map=may_be_map))
        return
    strange = [key for key in value if key not in operators.OPERATORS]
    if not may_be_map or all(operators.suggestion(str(key)) for key in strange):
        first = str(strange[0])
        yield Flaw((first,), f'"{first}" is no operator{operators.suggestion(first) or _OPERATORS_ARE}')


def at(place: str, outcome: Passed | Failed) -> Passed | Failed:
    """The outcome with the place that it is of."""
    if isinstance(outcome, Passed):
        return outcome
    return replace(outcome, message=f"{place}: {outcome.message}")


def together(failed: list[Failed], places: int) -> Failed:
    """One verdict of several machines: the first, and the messages of the others."""
    first, *others = failed
    if places == 1:
        return first
    detail = "\n".join([*filter(None, [first.detail]), *(other.message for other in others)])
    said = f"{first.message} ({len(failed)} of {places} places)"
    return Failed(said, first.expected, first.actual, detail, saw_nothing=all(one.saw_nothing for one in failed))


def _number(count: int | Part) -> str:
    return str(count) if isinstance(count, int) else ", ".join(f"{key} {value}" for key, value in count.items())


def _plural(noun: str, number: int) -> str:
    if number == 1:
        return noun
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def _shown(item: Item, view: View) -> str:
    """An item on one line, what is a list or a map cut short."""
    told = {key: item[key] for key in view.keys or item if item.get(key) not in (None, "", [], {})}
    return shortened(" ".join(f"{key}={value}" for key, value in told.items()), 200)

"""Which objects a step is about: `KIND[/NAME]`, a namespace, a selector, an owner; and how many of them have to comply."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, StrictInt, field_validator, model_validator

from koalesce.errors import UsageError
from koalesce.kube import Resource, UnknownKind
from koalesce.kube.selector import parse as parse_selector
from koalesce.matching.diff import render
from koalesce.matching.flaws import refuse
from koalesce.matching.matcher import Matcher
from koalesce.matching.partial import member_problems
from koalesce.matching.quantifiers import distance
from koalesce.steps.base import Errored, Failed, Model, Outcome, Passed, StepContext
from koalesce.steps.comparing import matching, pattern_flaws
from koalesce.steps.prospects import end_of_object, is_end
from koalesce.steps.reading import Reader, kind_and_name
from koalesce.steps.vantage import Selector

PATTERN = r"^[A-Za-z][A-Za-z0-9.-]*(/[^/\s]+)?$"
EVERYWHERE = "*"
_MOST_LINES = 20
_OWNERS_DEEP = 5


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """`KIND[/NAME]` as kubectl takes it: `pod/web-0`, `deploy`, `widgets.example.com/w`."""

    kind: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> ResourceRef:
        """Read `KIND[/NAME]`; raises ValueError with an example for anything else."""
        if not isinstance(text, str) or not re.fullmatch(PATTERN, text):
            raise ValueError(
                f"{text!r} names no object; write KIND or KIND/NAME, such as pod/web-0 or widgets.example.com"
            )
        kind, _, name = text.partition("/")
        return cls(kind, name)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}" if self.name else self.kind

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        def validate(value: Any) -> ResourceRef:
            return value if isinstance(value, ResourceRef) else cls.parse(value)

        return core_schema.no_info_plain_validator_function(validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": PATTERN, "examples": ["pod/web-0", "deployment/web", "nodes"]}


@dataclass(frozen=True, slots=True)
class Found:
    """The objects that a selection met, and their kind."""

    resource: Resource
    namespace: str | None
    objects: list[dict[str, Any]]
    passed_over: str = ""  # what `where` left out, as a clause


class Selection(Model):
    """Objects by kind and name, or by kind and selector or owner."""

    resource: ResourceRef
    """`KIND` or `KIND/NAME`, as kubectl takes it (`widgets.example.com/w` too)."""
    namespace: str | None = None
    """Where, if not in the test's namespace; `"*"` is all namespaces."""
    selector: Selector | None = None
    """Objects with these labels: `app=web,tier in (a,b)`, or a map of labels."""
    owner: ResourceRef | None = None
    """Objects that belong to this one, directly or through others: `deployment/web` has pods."""
    where: dict[str, Any] | None = Field(default=None, min_length=1)
    """Objects of which this part is so, in the words of `assert`'s `match`: `{spec: {nodeName: worker-1}}`."""

    @field_validator("where")
    @classmethod
    def _check_where(cls, where: dict[str, Any] | None) -> dict[str, Any] | None:
        refuse(member_problems(where or {}), where)
        return where

    @model_validator(mode="after")
    def _check_fields(self) -> Selection:
        refuse([flaw.under("where") for flaw in pattern_flaws(self.resource.kind, self.where or {})], self.where)
        return self

    @model_validator(mode="after")
    def _check_selection(self) -> Selection:
        if self.resource.name and any(by is not None for by in (self.selector, self.owner, self.where)):
            raise ValueError(
                f"{self.resource} names one object; leave its name out to use a selector, an owner or where"
            )
        if self.resource.name and self.namespace == EVERYWHERE:
            raise ValueError(f"{self.resource} is in one namespace; name it")
        if self.owner is not None and not self.owner.name:
            raise ValueError(f"owner {self.owner} needs a name, such as deployment/web")
        if self.selector is not None:
            check_selector(self.selector)
        return self

    @property
    def described(self) -> str:
        """The selection in words: `pod/web-0`, `pods with app=web`, `pods of deployment/web`."""
        words = [str(self.resource)]
        if self.selector:
            words.append(f"with {self.selector}")
        if self.owner:
            words.append(f"of {self.owner}")
        if self.where:
            words.append(f"where {render(self.where)}")
        if self.namespace:
            words.append("in all namespaces" if self.namespace == EVERYWHERE else f"in {self.namespace}")
        return " ".join(words)

    @property
    def _selected_by(self) -> str:
        """What tells this selection from others of its kind and namespace."""
        by_owner = f" of {self.owner}" if self.owner else ""
        return f"{self.selector or ''}{by_owner}" + (f" where {self.where}" if self.where else "")

    def look_for(self, context: StepContext) -> Found | Failed | Errored:
        """The objects; what is said where the cluster doesn't know the kind, or has no namespaces for it."""
        try:
            found = self.find(context)
        except UnknownKind as error:
            said = f"{self.described}: {error.message}, so there is nothing to look at"
            return Failed(said, "a kind that the cluster knows", "an unknown kind", saw_nothing=True)
        if self.namespace and not found.resource.namespaced:
            return Errored(f"{found.resource} have no namespaces: leave namespace out", final=True)
        return found

    def find(self, context: StepContext) -> Found:
        """The objects, read through the step's view and noted as seen; UnknownKind."""
        reader = Reader.of(context)
        resource = reader.kind(self.resource.kind)
        namespace = self._where(context) if resource.namespaced else None
        if self.resource.name:
            one = reader.get(resource, self.resource.name, namespace)
            objects = [] if one is None else [one]
        else:
            objects = reader.list(resource, namespace, self.selector or "")
        if self.owner is not None:
            owner = _Owner(reader, reader.kind(self.owner.kind), self.owner.name)
            objects = [obj for obj in objects if owner.owns(obj)]
        objects, passed_over = self._sifted(context, objects)
        context.sightings.note(resource, objects)
        if objects and not self.resource.name:
            context.sightings.note_selection(resource, namespace, self._selected_by)
        return Found(resource, namespace, objects, passed_over)

    def _sifted(self, context: StepContext, objects: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
        """The objects of which `where` is so; if there are none, how the nearest of the others differs."""
        if not self.where or not objects:
            return objects, ""
        looked = [(matching(context, obj).members(self.where, obj), obj) for obj in objects]
        chosen = [obj for found, obj in looked if not found]
        if chosen:
            return chosen, ""
        found, nearest = min(looked, key=lambda one: distance(one[0]))
        others = f"{len(objects)} other{'' if len(objects) == 1 else 's'}"
        return [], f"; of {others} the nearest is {named(nearest, context.namespace)}, whose {found[0]}"

    def was_seen(self, context: StepContext, found: Found) -> bool:
        """Whether the test has seen what this selects, now or before."""
        if found.objects:
            return True
        if self.resource.name:
            return context.sightings.has_seen(found.resource, found.namespace, self.resource.name)
        selector = (self.selector or "") if self.owner is None and self.where is None else None
        return context.sightings.has_met(found.resource, found.namespace, self._selected_by, selector)

    def _where(self, context: StepContext) -> str | None:
        return None if self.namespace == EVERYWHERE else self.namespace or context.namespace


@dataclass(frozen=True, slots=True)
class _Owner:
    """An object that owns others."""

    reader: Reader
    resource: Resource
    name: str

    def owns(self, obj: Mapping[str, Any], depth: int = _OWNERS_DEEP) -> bool:
        metadata = obj["metadata"]
        for reference in metadata.get("ownerReferences") or ():
            if reference["name"] == self.name and self._is_kind(reference):
                return True
            if depth and reference.get("controller", True):
                resource = self.reader.kind_of(
                    {"apiVersion": reference.get("apiVersion", "v1"), "kind": reference["kind"]}
                )
                between = self.reader.get(resource, reference["name"], metadata.get("namespace"))
                if between is not None and self.owns(between, depth - 1):
                    return True
        return False

    def _is_kind(self, reference: Mapping[str, Any]) -> bool:
        group = str(reference.get("apiVersion", "")).rpartition("/")[0]
        return bool(reference["kind"] == self.resource.kind and group == self.resource.group)


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about one object; `distance` says how far a failure is from passing."""

    outcome: Passed | Failed | Errored
    distance: int = 1


class Quantified(Selection):
    """A selection, and how many of its objects have to comply."""

    all_: Literal[True] | None = Field(default=None, alias="all")
    """Each of the selected objects has to comply, and there has to be one (or as many as `count` says)."""
    any_: Literal[True] | None = Field(default=None, alias="any")
    """One of the selected objects is enough."""
    count: StrictInt | dict[str, Any] | None = None
    """So many of the selected objects have to comply, or as many as in `{ge: 2}`; with `all`, so many have to be there, too."""

    @model_validator(mode="after")
    def _check_quantifier(self) -> Quantified:
        if self.any_ and (self.all_ or self.count is not None):
            raise ValueError("any stands alone: say all, any or count")
        quantified = self.all_ or self.any_ or self.count is not None
        if self.resource.name and quantified:
            raise ValueError(f"{self.resource} is one object; all, any and count are for several")
        if not self.resource.name and not quantified:
            raise ValueError(f"which of {self.described}? say all: true, any: true or count: N")
        if self.count is not None:
            Matcher(count=self.count)
        return self

    def judge(self, context: StepContext, look: Callable[[dict[str, Any]], Judged], wanted: str) -> Outcome:
        """Look at each selected object, and combine; `wanted` completes "2 of 3 pods …"."""
        found = self.look_for(context)
        if not isinstance(found, Found):
            return self._unfindable(context, found)
        if self.resource.name:
            gone = end_of_object(context, self.described, found.objects[0] if found.objects else None)
            if found.objects:
                return look(found.objects[0]).outcome
            return gone or Failed(f"{self.described} does not exist", wanted, "missing", saw_nothing=True)
        if not found.objects:
            return self._none_found(context, found, wanted)
        judged = [look(obj) for obj in found.objects]
        return self._combined(found, judged, wanted)

    def _none_found(self, context: StepContext, found: Found, wanted: str) -> Outcome:
        if self._counts(0) and not self.all_ and (context.may_not_exist or self.was_seen(context, found)):
            return Passed(f"there are no {self.described}", {"items": []})
        hint = "; say mayNotExist if none may be there from the start" if self._counts(0) else ""
        said = f"there are no {self.described}{found.passed_over}{hint}"
        return Failed(said, wanted, "no objects", saw_nothing=True)

    def _unfindable(self, context: StepContext, why: Failed | Errored) -> Outcome:
        """Of a kind that the cluster doesn't know there are no objects, for those who say that this may be."""
        if (
            isinstance(why, Failed)
            and context.may_not_exist
            and self._counts(0)
            and not self.all_
            and not context.negated
        ):
            return Passed(f"there are no {self.described}, nor their kind", {"items": []})
        return why

    def _combined(self, found: Found, judged: list[Judged], wanted: str) -> Outcome:
        total = len(judged)
        if broken := [one.outcome for one in judged if isinstance(one.outcome, Errored) and one.outcome.final]:
            return broken[0]
        good = sum(isinstance(one.outcome, Passed) for one in judged)
        if self._complies(good, total):
            return Passed(f"{good} of {total} {self.described} {wanted}", {"items": found.objects})
        bad = sorted((one for one in judged if not isinstance(one.outcome, Passed)), key=lambda one: one.distance)
        ends = [one.outcome for one in bad if is_end(one.outcome)]
        if ends and self.all_:
            return ends[0]
        messages = [one.outcome.message for one in bad]
        detail = "\n".join(_lines(bad))
        said = f"{good} of {total} {self.described} {wanted}, expected {self._expectation()}"
        if messages:
            said += f"; {'nearest: ' if self.any_ else ''}{messages[0]}"
        saw_nothing = bool(bad) and not good and all(getattr(one.outcome, "saw_nothing", False) for one in bad)
        return Failed(said, f"{self._expectation()} {wanted}", f"{good} of {total}", detail, saw_nothing=saw_nothing)

    def _complies(self, good: int, total: int) -> bool:
        if self.all_:
            return good == total and (self.count is None or self._counts(total))
        return good > 0 if self.any_ else self._counts(good)

    def _counts(self, number: int) -> bool:
        return self.count is not None and Matcher(count=self.count).check([None] * number) is None

    def _expectation(self) -> str:
        if self.any_:
            return "any"
        if self.count is None:
            return "all"
        text = (
            str(self.count)
            if isinstance(self.count, int)
            else " and ".join(f"{key} {value}" for key, value in self.count.items())
        )
        return f"all of {text}" if self.all_ else text


def _lines(bad: list[Judged]) -> list[str]:
    lines: list[str] = []
    for one in bad[:_MOST_LINES]:
        lines.append(one.outcome.message)
        if not isinstance(one.outcome, Passed):
            lines += [f"  {line}" for line in one.outcome.detail.splitlines()]
    return [*lines, f"… and {len(bad) - _MOST_LINES} more"] if len(bad) > _MOST_LINES else lines


def check_selector(selector: str) -> None:
    """Raise ValueError if a text is no label selector; one with expressions is checked later."""
    if "${{" in selector:
        return
    try:
        parse_selector(selector)
    except UsageError as error:
        raise ValueError(str(error)) from error


def named(obj: Mapping[str, Any], namespace: str | None) -> str:
    """An object as people call it, with its namespace where that isn't `namespace`."""
    where = obj["metadata"].get("namespace")
    return f"{kind_and_name(obj)} in {where}" if where and where != namespace else kind_and_name(obj)

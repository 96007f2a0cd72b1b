"""Which objects a step is about: `KIND[/NAME]`, a namespace, a selector, an owner, a part of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from koalesce.errors import UsageError
from koalesce.kube import Resource, UnknownKind
from koalesce.kube.selector import parse as parse_selector
from koalesce.matching.diff import render
from koalesce.matching.flaws import refuse
from koalesce.matching.partial import member_problems
from koalesce.matching.quantifiers import distance
from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.objects.comparing import matching, pattern_flaws
from koalesce.steps.objects.reading import Reader, kind_and_name
from koalesce.steps.vantage import Selector

PATTERN = r"^[A-Za-z][A-Za-z0-9.-]*(/[^/\s]+)?$"
EVERYWHERE = "*"
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

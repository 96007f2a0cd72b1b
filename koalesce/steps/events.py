"""The step `events`: what Kubernetes tells of objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field, StrictInt, model_validator

from koalesce.kube import Resource
from koalesce.matching.diff import render
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import Mismatch
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.moments import TEST, Since, moment, parse_time
from koalesce.steps.inside.places import unmet
from koalesce.steps.inside.printed import TextMatcher
from koalesce.steps.objects.reading import Reader, shortened
from koalesce.steps.objects.reference import EVERYWHERE, ResourceRef, Selection
from koalesce.steps.vantage import Owner, Selector

_SHOWN = 10
_OF_THE_CLUSTER = "default"  # where events about objects without a namespace are
_EVENT = {"apiVersion": "v1", "kind": "Event"}
Object = Mapping[str, Any]


class Events(Assertion, key="events"):
    """Say which events there are about an object, or in a namespace, and how many of them.

    An event that repeats another counts as often as Kubernetes says that it happened. `count: 0` says that there is none: that needs the
    object to be there (or to have been), and without an object, some event in the namespace; or `mayNotExist`.
    """

    for_: ResourceRef | None = Field(default=None, alias="for", examples=["pod/web-0"])
    """What they are about: `KIND/NAME`, in which `*` stands for anything (`pod/web-*`), or a `KIND`; default: anything in the namespace."""

    selector: Selector | None = None
    """With a `KIND`: about those that have these labels (and are there)."""

    owner: Owner | None = None
    """With a `KIND`: about those that belong to this, such as `deployment/web` (and are there)."""

    namespace: str | None = None
    """Where, if not in the test's namespace; `"*"` is all. Events about objects without a namespace, such as nodes, are found without this."""

    type: Literal["Normal", "Warning"] | None = None
    """Whether they are warnings."""

    reason: Matcher | None = None
    """Their reason, such as `Scheduled`, `BackOff` or `FailedScheduling`."""

    message: TextMatcher | None = None
    """Their message: a text, or a matcher such as `{contains: Insufficient cpu}`."""

    source: Matcher | None = None
    """Who tells it, such as `kubelet` or `default-scheduler`."""

    count: StrictInt | dict[str, Any] | None = None
    """How often: a number, or a comparison as in `{le: 3}`; default: at least once."""

    since: Since = TEST
    """From when on: `test`, `step` (what hadn't happened at its first look), `all`, or a duration such as `30s`. Of an event that repeats and
    began before, what came later counts as one."""

    @model_validator(mode="after")
    def _fits_together(self) -> Events:
        if (self.selector or self.owner) and (self.for_ is None or self.for_.name):
            raise ValueError("selector and owner need a kind without a name: for: pods")
        if self.count is not None:
            Matcher(count=self.count)
        return self

    def title(self) -> str:
        """What they are about, and which."""
        return f"events {self._described()}"

    def attempt(self, context: StepContext) -> Outcome:
        """Look at those that there are."""
        if self.since.word == "step" and self._fits(0) and not context.lasts:
            said = "since: step, and no event is expected: no time has passed in which it could have happened"
            return Errored(f"{said}; say for how long, with consistently: 5s", final=True)
        kind, concerned, problem = self._subject(context)
        if problem is not None:
            return unmet(problem, context)
        reader = Reader.of(context)
        where = self._where(context, kind)
        seen = reader.list(reader.kind_of(_EVENT), where)
        about = [event for event in seen if concerned(_regarding(event))]
        found = self._since(self._sorted(about), context)
        hits = [(event, times) for event, times in found if self._mismatch(event) is None]
        total = sum(times for _, times in hits)
        if self._fits(total):
            if total == 0 and (problem := self._unfounded(context, kind, about, seen)):
                return unmet(problem, context)
            return Passed(f"{_events(total)} {self._described()}", {"items": [event for event, _ in hits]})
        if context.negated and total == 0 and self._unfounded(context, kind, about, seen):
            what = f"{self.for_} was never there" if self.for_ else "nothing at all was told in this namespace"
            return Failed(what, "some event", "none", saw_nothing=True)
        return self._failed(total, [event for event, _ in hits], [event for event, _ in found])

    def _subject(self, context: StepContext) -> tuple[Resource | None, Callable[[Object], bool], Failed | None]:
        """The kind that they are about, and whether one is about an object that is meant."""
        if self.for_ is None:
            return None, lambda regarding: True, None
        kind = Reader.of(context).kind(self.for_.kind)
        name = self.for_.name or "*"
        if not (self.selector or self.owner):
            return (
                kind,
                lambda regarding: _is_of(kind, regarding) and fnmatchcase(str(regarding.get("name")), name),
                None,
            )
        selection = Selection(
            resource=self.for_, namespace=self.namespace, selector=self.selector,
            owner=ResourceRef.parse(self.owner) if self.owner else None,
        )  # fmt: skip
        objects = selection.find(context).objects
        if not objects and not context.may_not_exist:
            return kind, lambda regarding: False, Failed(f"there are no {selection.described}", "an object", "none")
        uids = {obj["metadata"].get("uid") for obj in objects}
        return kind, lambda regarding: regarding.get("uid") in uids, None

    def _where(self, context: StepContext, kind: Resource | None) -> str | None:
        if self.namespace == EVERYWHERE:
            return None
        if self.namespace is None and kind is not None and not kind.namespaced:
            return _OF_THE_CLUSTER
        return self.namespace or context.namespace

    def _sorted(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(events, key=lambda event: str(_last(event) or ""))

    def _since(self, events: list[dict[str, Any]], context: StepContext) -> list[tuple[dict[str, Any], int]]:
        """Those that have happened since, with how often each has."""
        if self.since.word == "step":
            known: dict[str, int] = context.memory.setdefault(
                "events", {event_id(event): times(event) for event in events}
            )
            counted = [(event, times(event) - known.get(event_id(event), 0)) for event in events]
            return [(event, number) for event, number in counted if number > 0]
        start = moment(self.since, context)
        if start is None:
            return [(event, times(event)) for event in events]
        return [(event, _times_since(event, start)) for event in events if (_last(event) or start) >= start]

    def _mismatch(self, event: Object) -> Mismatch | None:
        """In what it differs from what is looked for."""
        if self.type is not None and event.get("type") != self.type:
            return Mismatch(".type", self.type, str(event.get("type")), f"is {event.get('type')}, expected {self.type}")
        found = self.reason.check(str(event.get("reason", ""))) if self.reason else None
        found = found or (self.message.look(str(event.get("message", ""))) if self.message else None)
        return found or (self.source.check(_source(event)) if self.source else None)

    def _unfounded(
        self, context: StepContext, kind: Resource | None, about: list[Any], seen: list[Any]
    ) -> Failed | None:
        """Why it means nothing that there is none."""
        if context.may_not_exist or about:
            return None
        if self.for_ is None or kind is None:
            if seen:
                return None
            said = "nothing at all was told in this namespace, so that nothing of this kind was proves nothing; say mayNotExist if it is meant"
            return Failed(said, "some event", "none")
        if self.selector or self.owner:
            return None  # they are there
        namespace = None if self.namespace == EVERYWHERE else self.namespace or context.namespace
        is_pattern = "*" in self.for_.name or not self.for_.name
        reader = Reader.of(context)
        if is_pattern:
            names = [obj["metadata"]["name"] for obj in reader.list(kind, namespace)]
            is_there = any(fnmatchcase(name, self.for_.name or "*") for name in names)
        else:
            is_there = reader.get(kind, self.for_.name, namespace) is not None
            is_there = is_there or context.sightings.has_seen(kind, namespace, self.for_.name)
        if is_there:
            return None
        said = (
            f"{self.for_} was never there, so that nothing is told of it proves nothing; say mayNotExist if it is meant"
        )
        return Failed(said, "seen", "never seen")

    def _failed(self, total: int, hits: list[dict[str, Any]], others: list[dict[str, Any]]) -> Failed:
        expectation = self._expectation()
        said = f"{_events(total)} {self._described()}, expected {expectation}"
        listed = hits or others
        title = "these:" if hits else "there are others:"
        lines = [title, *(f"  {line_of(event)}" for event in listed[-_SHOWN:])] if listed else []
        return Failed(said, expectation, str(total), "\n".join(lines))

    def _fits(self, number: int) -> bool:
        if self.count is None:
            return number > 0
        return Matcher(count=self.count).check([None] * number) is None

    def _expectation(self) -> str:
        if self.count is None:
            return "at least 1"
        if isinstance(self.count, int):
            return str(self.count)
        return " and ".join(f"{name} {value}" for name, value in self.count.items())

    def _described(self) -> str:
        words: list[str] = [self.type] if self.type else []
        for name, matcher in (("reason", self.reason), ("message", self.message), ("from", self.source)):
            if matcher is not None:
                given = matcher.operators()
                plain = " and ".join(f"{operator} {render(value)}" for operator, value in given.items())
                words.append(f"{name} {given['equals'] if set(given) == {'equals'} else plain}")
        about = f"about {self.for_}" if self.for_ else f"in {self.namespace or 'the namespace'}"
        if self.selector or self.owner:
            about += f" with {self.selector}" if self.selector else f" of {self.owner}"
        return ", ".join([about, *words])


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number} events"


def event_id(event: Object) -> str:
    """What tells an event from others."""
    return str(event["metadata"].get("uid") or event["metadata"]["name"])


def times(event: Object) -> int:
    """How often it has happened, as Kubernetes says."""
    series = event.get("series") or {}
    return int(series.get("count") or event.get("count") or 1)


def line_of(event: Object) -> str:
    """An event on one line."""
    regarding = _regarding(event)
    subject = f"{str(regarding.get('kind', '?')).lower()}/{regarding.get('name', '?')}"
    number = f" ({times(event)} times)" if times(event) > 1 else ""
    return (
        f"{event.get('type')} {event.get('reason')} {subject}: {shortened(str(event.get('message', '')), 160)}{number}"
    )


def _times_since(event: Object, start: datetime) -> int:
    first = parse_time(str(event.get("firstTimestamp") or event.get("eventTime") or ""))
    return times(event) if first is None or first >= start else 1


def _last(event: Object) -> datetime | None:
    """When it last happened."""
    series = event.get("series") or {}
    for text in (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")):
        if text:
            return parse_time(str(text))
    return parse_time(str(event["metadata"].get("creationTimestamp") or ""))


def _regarding(event: Object) -> Object:
    found: Object = event.get("involvedObject") or {}
    return found


def _is_of(kind: Resource, regarding: Object) -> bool:
    group = str(regarding.get("apiVersion", "")).rpartition("/")[0]
    return regarding.get("kind") == kind.kind and (group == kind.group or not regarding.get("apiVersion"))


def _source(event: Object) -> str:
    return str((event.get("source") or {}).get("component") or event.get("reportingComponent") or "")

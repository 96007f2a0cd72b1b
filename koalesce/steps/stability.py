"""The step `stability`: what must not grow, however long it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from koalesce.durations import Duration, format_seconds
from koalesce.matching.mismatch import Mismatch
from koalesce.matching.partial import Matching
from koalesce.records import dataclass
from koalesce.steps.base import Background, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.places import Source, select
from koalesce.steps.node_state import VIEWS
from koalesce.steps.objects.reading import Reader
from koalesce.steps.objects.reference import EVERYWHERE
from koalesce.steps.state.growth import FEWEST, Course
from koalesce.steps.state.machines import reachable
from koalesce.steps.state.sampling import MEASURES, Missed, Processes, Sampler, Track, asked
from koalesce.steps.state.watched import Objects, State, Watched
from koalesce.steps.vantage import ENTERED, taken, taken_on_wire

_LONGEST_NAME = 15  # of a process, as kernels keep it


def _is_a_time(duration: Duration) -> Duration:
    if duration.seconds < 0.05:
        raise ValueError("must be 50ms or more")
    return duration


class Stability(Background, key="stability"):
    """Take samples while other steps run, until a `stop` with its `id`, or `for` a time, and say what must not have grown.

    A number that is a little higher here and there doesn't grow: the last quarter of samples is compared with the first. At least four samples are taken; in one of them there must be something to
    count (unless `mayNotExist`). A process that ends while it's watched fails: its successor can't be compared with it. Machines and pods are those of the start. A look that can't
    be taken (an API server that is away) is left out; where that were more than a quarter of all, it's an error.
    """

    of: Annotated[list[Watched], Field(min_length=1)]
    """What is watched: a list of things, each with its limits."""

    every: Annotated[Duration, AfterValidator(_is_a_time)] = Duration(1.0)
    """How long it waits between samples."""

    lasts: Annotated[Duration, AfterValidator(_is_a_time)] | None = Field(default=None, alias="for")
    """How long samples are taken: the step ends then. Default: until a `stop` with its id."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Stability:
        if (self.lasts is None) == (self.id is None):
            raise ValueError(
                "say exactly one of id, with a stop later on, and for: what has moved is judged at its end"
            )
        if self.lasts is not None and self.lasts.seconds < (FEWEST - 1) * self.every.seconds:
            raise ValueError(f"for {self.lasts}, every {self.every}: there must be {FEWEST} samples")
        return self

    @property
    def lasting(self) -> Duration | None:
        """How long it takes samples."""
        return self.lasts

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way to run commands where kernels and processes are looked at."""
        things = written.get("of")
        found: set[str] = set()
        for one in things if isinstance(things, list) else ():
            if isinstance(one, Mapping):
                found |= taken(one.get("state"))
                for name in MEASURES:
                    found |= taken_on_wire(one[name], pods=ENTERED) if one.get(name) is not None else set()
        return frozenset(found)

    def title(self) -> str:
        """What is watched."""
        return f"stability of {', '.join(map(str, self.of))}"

    def start(self, context: StepContext) -> Sampling | Failed | Errored:
        """Find out what there is to look at, and begin."""
        tracks: list[tuple[Watched, Track]] = []
        for watched in self.of:
            found = _tracks(watched, context)
            if not isinstance(found, list):
                return found
            tracks += [(watched, track) for track in found]
        return Sampling(self, tracks, context)


class Sampling:
    """Samples that are being taken."""

    def __init__(self, step: Stability, tracks: list[tuple[Watched, Track]], context: StepContext) -> None:
        self._tracks, self._may_not_exist = tracks, context.may_not_exist
        self._now, self._began = context.scope.now, context.scope.now()
        self._sampler = Sampler([track for _, track in tracks], step.every.seconds)

    @property
    def value(self) -> Mapping[str, Any]:
        """What is looked at."""
        return {"watched": [f"{track.place}: {track.name}".removeprefix(": ") for _, track in self._tracks]}

    def stop(self) -> Outcome:
        """Take the last samples, and judge."""
        if not self._sampler.end():
            return Errored("the last samples could not be taken in time", final=True)
        seconds = self._now() - self._began
        problems = [problem for _, track in self._tracks if (problem := self._problem(track, seconds)) is not None]
        if problems:
            return problems[0]
        courses = [
            (watched, Course(name=one.name, place=one.place, values=one.values)) for watched, one in self._tracks
        ]
        said = f"{self._sampler.rounds} samples in {format_seconds(seconds)}"
        misses = [(course, what, miss) for one, course in courses for what, miss in one.misses(course)]
        if misses:
            return _failed(misses, said)
        value = {
            "samples": self._sampler.rounds, "seconds": round(seconds, 3),
            "items": [course.to_value() for _, course in courses],
        }  # fmt: skip
        return Passed(f"{said}: {'; '.join(_summed_up(course) for _, course in courses)}", value)

    def _problem(self, track: Track, seconds: float) -> Failed | Errored | None:
        what = f"{track.place}: {track.name}".removeprefix(": ")
        if track.over:
            return Failed(f"{what}: {track.over}", "the same process", "another or none", final=True)
        if len(track.values) < FEWEST or len(track.missed) * 3 > len(track.values):
            why = f", {len(track.missed)} could not be taken: {track.missed[-1]}" if track.missed else ""
            hint = "" if track.missed else "; sample more often, or for longer"
            said = f"{what}: {len(track.values)} samples in {format_seconds(seconds)} are too few to tell"
            return Errored(f"{said}{why}{hint}", final=True)
        if not any(track.values) and not self._may_not_exist:
            said = f"{what}: there was none of it at any time, so that it didn't grow proves nothing"
            return Failed(f"{said}; say mayNotExist: true if that is meant", "something", "nothing", final=True)
        return None


def _tracks(watched: Watched, context: StepContext) -> list[Track] | Failed | Errored:
    if watched.objects is not None:
        return [Track(str(watched), "", _count_of(watched.objects, context))]
    if watched.state is not None:
        sources = watched.state.sources(context)
        if isinstance(sources, Errored):
            return sources
        return [Track(str(watched), source.name, _State(watched.state, source).look) for source in sources]
    return _of_processes(watched, context)


def _of_processes(watched: Watched, context: StepContext) -> list[Track] | Failed | Errored:
    wanted = watched.processes
    assert wanted is not None  # noqa: S101 - the form was checked
    found = select(wanted, context)
    sources = reachable(found) if isinstance(found, list) else found
    if not isinstance(sources, list):
        return sources
    if unknown := [source for source in sources if source.kind == "pod" and not source.container_id]:
        return Errored(f"{unknown[0].name}: the container's ID is not known, so that its processes can't be told")
    looks = [Processes(source, (wanted.process or "")[:_LONGEST_NAME], watched.kind) for source in sources]
    for look in looks:
        try:
            if not look.rows():
                return Failed(f"there is no process {look.described}", "a process", "none", saw_nothing=True)
        except Missed as missed:
            return Errored(str(missed))
    return [Track(str(watched), look.source.name, look.look) for look in looks]


@dataclass(frozen=True, slots=True)
class _State:
    """A kind of state of a machine."""

    wanted: State
    source: Source

    def look(self) -> int:
        view, matching = VIEWS[self.wanted.kind], Matching()
        try:
            items = view.read(asked(self.source, ["sh", "-ec", view.command]))
        except (ValueError, KeyError, TypeError) as error:
            raise Missed(f"{self.source.name}: the answer can't be read: {error}") from error
        return sum(not matching.members(self.wanted.where or {}, item) for item in items)


def _count_of(wanted: Objects, context: StepContext) -> Callable[[], int]:
    kube = context.cluster.kube
    resource = Reader.of(context).kind(wanted.resource.kind)
    namespace = None if wanted.namespace == EVERYWHERE else wanted.namespace or context.namespace
    where = namespace if resource.namespaced else None
    return lambda: len(kube.list(resource, namespace=where, selector=wanted.selector or "", metadata_only=True))


def _failed(misses: list[tuple[Course, str, Mismatch]], said: str) -> Failed:
    course, what, first = misses[0]
    more = f" (and {len(misses) - 1} more)" if len(misses) > 1 else ""
    message = f"{course}: {what} {first.message}{more}: {course.values[0]} → {course.values[-1]}, {said}"
    detail = "\n".join(course.drawn() for course, _, _ in misses)
    return Failed(message, first.expected, first.actual, detail, final=True)


def _summed_up(course: Course) -> str:
    return f"{course} {course.values[0]} → {course.values[-1]}"

"""The contract of a step: what it is made of, what it is given, what it answers.

A step never sleeps, loops until something holds, prints or reads a clock: the engine does. It looks once (`attempt`), or acts once
(`act`), and answers with an Outcome. What it can't find out it raises (KoalesceError) or returns as `Errored`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from koalesce.durations import Duration
from koalesce.errors import Interrupted
from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.identifier import Identifier
from koalesce.steps.sightings import Sightings

if TYPE_CHECKING:
    from koalesce.cluster import Cluster
    from koalesce.events import Grid, RouteTable, Series, Session
    from koalesce.kube import ApiError, View
    from koalesce.process import Cancel


@dataclass(frozen=True, slots=True)
class Passed:
    """It holds, or was done. `value` is the JSON value that `outputs` read from; `grids`, `series`, `sessions` and `routes` are what reports draw."""

    message: str
    value: Any = None
    grids: tuple[Grid, ...] = field(default=(), compare=False, repr=False)
    series: tuple[Series, ...] = field(default=(), compare=False, repr=False)
    sessions: tuple[Session, ...] = field(default=(), compare=False, repr=False)
    routes: tuple[RouteTable, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The software under test does not do what the spec says (or not yet). `final`: it no longer can; don't look again.

    `expected` and `actual` are short; `detail` may have several lines (a diff, a grid, the nearest candidate). `final_after`: it no
    longer can if looks find the very same (the same message) for this many seconds.
    """

    message: str
    expected: str | None = None
    actual: str | None = None
    detail: str = ""
    final: bool = False
    final_after: float | None = None
    saw_nothing: bool = field(
        default=False, compare=False, repr=False
    )  # what it is about isn't there: no proof for `never`
    refusal: ApiError | None = field(default=None, compare=False, repr=False)  # the API server's, where it was one
    grids: tuple[Grid, ...] = field(default=(), compare=False, repr=False)
    series: tuple[Series, ...] = field(default=(), compare=False, repr=False)
    sessions: tuple[Session, ...] = field(default=(), compare=False, repr=False)
    routes: tuple[RouteTable, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Errored:
    """We could not find out (probe broken, image not to be had).

    `final`: looking again is of no use. `late`: no answer came in the time that there was for it.
    """

    message: str
    detail: str = ""
    final: bool = False
    late: bool = field(default=False, compare=False, repr=False)
    grids: tuple[Grid, ...] = field(default=(), compare=False, repr=False)
    series: tuple[Series, ...] = field(default=(), compare=False, repr=False)
    sessions: tuple[Session, ...] = field(default=(), compare=False, repr=False)
    routes: tuple[RouteTable, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Hold:
    """Let this time pass, then it passed (`sleep`)."""

    duration: Duration


Outcome = Passed | Failed | Errored | Hold


class Stopped(Interrupted):
    """A step was told to end before its own end; `outcome` is what can be said until there, with what it gave."""

    def __init__(self, outcome: Passed | Failed | Errored) -> None:
        super().__init__("stopped")
        self.outcome = outcome


class Scope(Protocol):
    """Time and life of the step that runs."""

    @property
    def cancel(self) -> Cancel:
        """Set when the step must end now."""

    def remaining(self) -> float:
        """Seconds until the step's deadline; 0 once it has passed."""

    def now(self) -> float:
        """Seconds of the engine's clock, the same for all steps of a run: two of them give the time between two looks."""

    def defer(self, what: str, undo: Callable[[], None]) -> None:
        """Register an undo *before* the act; runs at the end of the test, in reverse. `what` names it for people."""


class Files(Protocol):
    """The files that a spec may read."""

    @property
    def folder(self) -> Path:
        """The folder that the spec lies in: where its scripts run."""

    def resolve(self, path: str) -> list[Path]:
        """Files of a path, folder or glob relative to the spec; UsageError if none, or outside the project."""

    def confined(self, path: str) -> Path:
        """A file or folder that is there; UsageError if it isn't, or outside the project."""

    def runs(self, program: str) -> None:
        """Note that what is read depends on a program of this machine, by its path."""

    def beyond(self, reason: str) -> None:
        """Note that something is looked at which can't be told later, so that the result isn't one for later runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """All that a step gets to know; one for all of its attempts."""

    cluster: Cluster
    view: View
    namespace: str
    scope: Scope
    files: Files
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    may_not_exist: bool = False
    patient: bool = False
    negated: bool = False  # under `never`: "does not exist" may be what is hoped for
    lasts: bool = False  # looked at over a time whatever is seen: `consistently`, `stableFor`, `never`
    artifacts: Path | None = None  # where what a step brings home is kept; None: this place keeps nothing
    disruptive: bool = False  # the test is alone in the cluster, and may change what isn't its own
    expects_refusal: bool = False  # `expectFailure`: what is done all the same is undone at the step's end
    sightings: Sightings = field(default_factory=Sightings)  # one for all steps of a test
    memory: dict[str, Any] = field(default_factory=dict)  # what the step notes for its later attempts


class Step(Model, ABC):
    """A step; its class docstring and field descriptions are its page in the reference."""

    key: ClassVar[str]
    short_field: ClassVar[str | None] = None  # the field that a bare scalar or list stands for: `sleep: 5s`
    misplaced: ClassVar[Mapping[str, str]] = {}  # what authors write here that belongs elsewhere, and where that is
    writes: ClassVar[bool] = False  # acts on the cluster
    needs_time: ClassVar[bool] = (
        False  # says something of a time only: `consistently` or `stableFor` has to stand beside it
    )
    polls: ClassVar[bool] = (
        False  # looks at something that can't be watched (a process, the wire): looked at again by `retry`
    )

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """The capabilities without which it can't do anything, by its fields as they are written, expressions and all."""
        return frozenset()

    def __init_subclass__(cls, *, key: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if key is not None:
            cls.key = key

    def title(self) -> str:
        """A few words for a line of the report, when the author gave no name."""
        return self.key

    def ongoing(self) -> str:
        """What reports call that which goes on once the step is over, or that is ended by it; empty if nothing does."""
        return ""

    def static_problems(self, files: Files) -> list[str]:
        """What can be said to be wrong before anything runs (a file that isn't there, a bad regex), as sentences."""
        return []


class Assertion(Step):
    """A step that observes; attempted until it holds."""

    @abstractmethod
    def attempt(self, context: StepContext) -> Outcome:
        """Look once."""

    def is_retried(self) -> bool:
        """Whether it's looked at again by default (`retry` in the spec always makes it so)."""
        return True


class Action(Step):
    """A step that changes something; done once. Only not-ready answers of the API server are tried again."""

    writes: ClassVar[bool] = True

    @abstractmethod
    def act(self, context: StepContext) -> Outcome:
        """Do it."""


class Stage(ABC):
    """One change of a course, and what shows that it has taken effect. Each has the step's time for itself, unless it says another."""

    title: str = ""
    timeout: Duration | None = None
    measured: ClassVar[bool] = True  # the time that it takes to take effect is what the step is about
    polls: ClassVar[bool] = True  # as of a step

    @abstractmethod
    def act(self, context: StepContext) -> Outcome:
        """Make the change, once; `context` is of this stage only."""

    @abstractmethod
    def look(self, context: StepContext) -> Outcome:
        """Look once whether it has taken effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a stage ended, and the seconds from its change until it held (for good, where that was asked for)."""

    outcome: Outcome
    seconds: float


class Course(Step):
    """A step of several changes: what comes next may depend on how the last one ended. The engine makes, awaits and measures each."""

    writes: ClassVar[bool] = True

    @abstractmethod
    def stages(self, context: StepContext) -> Generator[Stage, Ended, Outcome]:
        """Yield stages, each of which is answered with how it ended; return what all of it means."""


class Running(Protocol):
    """Something that a Background step started. It has threads and connections of its own: the step's view ends with its start."""

    @property
    def value(self) -> Any:
        """The JSON value that the step's `outputs` read, as soon as it is started."""

    def stop(self) -> Outcome:
        """End it, with all that belongs to it, and say how it went: Failed or Errored where it had broken before."""


class Background(Step):
    """A step that goes on while others run, and ends with its test (with the spec, in `setup`) or by a `stop` with its id."""

    disturbs: ClassVar[bool] = (
        False  # takes something away from the cluster, which has to be whole again after the test
    )

    id: Identifier | None = None
    """Its name, for `stop`; without one it ends with its test."""

    def ongoing(self) -> str:
        """Its name."""
        return self.id or ""

    @property
    def lasting(self) -> Duration | None:
        """How long it goes on, with the next step waiting for its end; None: beside the next ones."""
        return None

    @abstractmethod
    def start(self, context: StepContext) -> Running | Failed | Errored:
        """Start it; tried again until the deadline while it fails and may yet succeed."""

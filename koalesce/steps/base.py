"""The contract of a step: what it is made of, what it is given, what it answers.

A step never sleeps, loops until something holds, prints or reads a clock: the engine does. It looks once (`attempt`), or acts once
(`act`), and answers with an Outcome. What it can't find out it raises (KoalesceError) or returns as `Errored`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from koalesce.cluster import Cluster
from koalesce.durations import Duration
from koalesce.kube import View
from koalesce.process import Cancel
from koalesce.steps.sightings import Sightings


@dataclass(frozen=True, slots=True)
class Passed:
    """It holds, or was done. `value` is the JSON value that the step's `outputs` read from."""

    message: str
    value: Any = None


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


@dataclass(frozen=True, slots=True)
class Errored:
    """We could not find out (probe broken, image not to be had). `final`: looking again is of no use."""

    message: str
    detail: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Let this time pass, then it passed (`sleep`)."""

    duration: Duration


Outcome = Passed | Failed | Errored | Hold


class Scope(Protocol):
    """Time and life of the step that runs."""

    @property
    def cancel(self) -> Cancel:
        """Set when the step must end now."""

    def remaining(self) -> float:
        """Seconds until the step's deadline; 0 once it has passed."""

    def defer(self, what: str, undo: Callable[[], None]) -> None:
        """Register an undo *before* the act; runs at the end of the test, in reverse. `what` names it for people."""


class Files(Protocol):
    """The files that a spec may read."""

    @property
    def folder(self) -> Path:
        """The folder that the spec lies in: where its scripts run."""

    def resolve(self, path: str) -> list[Path]:
        """Files of a path, folder or glob relative to the spec; UsageError if none, or outside the project."""


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
    sightings: Sightings = field(default_factory=Sightings)  # one for all steps of a test
    memory: dict[str, Any] = field(default_factory=dict)  # what the step notes for its later attempts


class Model(BaseModel):
    """What users write: camelCase in YAML, unknown fields refused, frozen once read.

    A field's docstring below it is its description (`koalesce.spec.schema` reads it: pydantic would at each start).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        arbitrary_types_allowed=True,
        defer_build=True,
    )


class Step(Model, ABC):
    """A step; its class docstring and field descriptions are its page in the reference."""

    key: ClassVar[str]
    short_field: ClassVar[str | None] = None  # the field that a bare scalar or list stands for: `sleep: 5s`
    writes: ClassVar[bool] = False  # acts on the cluster
    polls: ClassVar[bool] = (
        False  # looks at something that can't be watched (a process, the wire): looked at again by `retry`
    )

    def __init_subclass__(cls, *, key: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if key is not None:
            cls.key = key

    def title(self) -> str:
        """A few words for a line of the report, when the author gave no name."""
        return self.key

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


class Running(Protocol):
    """Something that a Background step started."""

    def stop(self) -> Outcome:
        """End it, and say how it went."""


class Background(Step):
    """A step that goes on while others run."""

    @abstractmethod
    def start(self, context: StepContext) -> Running:
        """Start it."""


class Group(Step):
    """A step that stands for others."""

    @abstractmethod
    def expand(self, context: StepContext) -> list[Mapping[str, Any]]:
        """The steps, as they would stand in a spec."""

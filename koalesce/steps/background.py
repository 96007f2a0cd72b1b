"""Start a step and go on with the next ones; `stop` ends it and says how it must have gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from koalesce.durations import Duration
from koalesce.steps.base import Step
from koalesce.steps.identifier import Identifier
from koalesce.steps.vantage import taken_on_wire

_SHORTEST = 0.01


def _is_a_rhythm(every: Duration) -> Duration:
    if every.seconds < _SHORTEST:
        raise ValueError("must be 10ms or more")
    return every


class InBackground(Step, key="background"):
    """Start a step and go on with the next ones at once. A `stop` with its id in the same list of steps has to end it.

    It runs until it ends by itself, until its `stop`, or until its own `timeout`; when the test fails or is interrupted before, it's ended.
    `name`, `timeout`, `retry`, `stableFor`, `consistently` and `never` may stand beside its type, everything else beside `background` or at
    the `stop`: what it printed or saw is there only then. With `consistently` or `never` it watches over the steps between the two: it has to
    hold at every look until the `stop`, or until its time is over, whichever is first.

    With `every`, what is asked over the network (`tcp`, `udp`, `curl`, `dns`, `connectivity`) is asked again and again, by one process on each node (or pod)
    that keeps to its rhythm however long answers take. The step is over as soon as all is as expected, as if it were run by itself. From then on each
    try counts, until the `stop`, which says how many may be lost or wrong and how long a gap may be. Sources and targets are those of the start.
    """

    id: Identifier
    """Its name, for `stop`; no other step of the test has it."""

    every: Annotated[Duration, AfterValidator(_is_a_rhythm)] | None = None
    """Ask so often, each source each target, and count: `20ms`. Only `name` may stand beside the type in `run` then, and `timeout` beside
    `background`: how long it may take until all is as expected."""

    run: Annotated[dict[str, Any], WithJsonSchema({"type": "object", "title": "Step"})]
    """The step, as it would stand in the list."""

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """Besides what its step takes: a probe that can go on, where it's asked again and again from pods."""
        run = written.get("run")
        inner = (
            next(iter(run.values()), None) if written.get("every") is not None and isinstance(run, Mapping) else None
        )
        where = inner.get("from") if isinstance(inner, Mapping) else None
        return taken_on_wire(where) if where is not None else frozenset()

    def title(self) -> str:
        """Its name."""
        return f"start {self.id}"

    def ongoing(self) -> str:
        """Its name."""
        return self.id

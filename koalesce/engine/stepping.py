"""Running steps one after the other: once for each of their items, on their cluster, and what their outputs become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from koalesce.clock import Clock
from koalesce.cluster import Cluster
from koalesce.engine.attempts import Interrupt
from koalesce.engine.backgrounds import Backgrounds
from koalesce.engine.items import NoItems
from koalesce.engine.scopes import TestScope
from koalesce.engine.sections import DEFAULT_TIMEOUT, Section
from koalesce.engine.sites import Entered
from koalesce.engine.step_run import StepRun
from koalesce.engine.timeline import Timeline
from koalesce.errors import KoalesceError
from koalesce.events import AnyEvent, Status, StepFinished
from koalesce.expressions import has_expression
from koalesce.spec.entries import StepEntry
from koalesce.spec.fields import Places
from koalesce.steps.base import Failed, Files
from koalesce.steps.sightings import Sightings

__all__ = ["DEFAULT_TIMEOUT", "Section", "StepRunner"]


@dataclass(slots=True, kw_only=True)
class StepRunner:
    """Runs the steps of one test, in one namespace. `values` are what expressions may name; `outputs` of steps are added to it."""

    cluster: Cluster
    namespace: str
    scope: TestScope
    clock: Clock
    interrupt: Interrupt
    files: Files
    emit: Callable[[AnyEvent], None]
    labels: Mapping[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    sightings: Sightings = field(default_factory=Sightings)
    disruptive: bool = False  # may change what isn't the test's own
    backgrounds: Backgrounds = field(default_factory=Backgrounds)
    artifacts: Path | None = None  # where steps keep what they bring home
    looked_at: list[Mapping[str, Any]] = field(default_factory=list)  # what the last step that didn't pass had read
    timeline: Timeline = field(default_factory=Timeline)
    place: str = ""  # which cluster of the spec this is, where it has several
    enter: Callable[[str], Entered] | None = None  # goes to another

    def at(self, place: str) -> StepRunner:
        """The same for another cluster of the spec; KoalesceError if there is none, or nothing can be done there."""
        if place == self.place or self.enter is None:
            return self
        entered = self.enter(place)
        return replace(
            self, place=place, cluster=entered.site.cluster, values={**self.values, **entered.site.values},
            sightings=entered.sightings, scope=self.scope.at(place),
        )  # fmt: skip

    def run(self, section: Section, index: int, entry: StepEntry) -> StepFinished:
        """Run a step to its end, once for each item until one doesn't pass; returns the last event of the worst item."""
        place = entry.raw.get("cluster")
        if isinstance(place, str) and not has_expression(place):
            try:
                there = self.at(place)
            except KoalesceError as error:
                return StepRun(self, section, index, entry).refuse(str(error))
            if there is not self:
                return there.run(section, index, entry)
        results: list[tuple[StepFinished, dict[str, Any]]] = []
        try:
            items = self._items(section, index, entry)
        except NoItems as error:
            return StepRun(self, section, index, entry).without_items(error.outcome)
        for item in items:
            results.append(StepRun(self, section, index, entry).run(item))
            if results[-1][0].status in ("failed", "error") and not entry.raw.get("continueOnFailure"):
                break
        if not results:
            nothing = Failed("foreach has no items: nothing was done")
            return StepRun(self, section, index, entry).without_items(nothing)
        self._keep_outputs(entry, [outputs for _, outputs in results])
        return max((finished for finished, _ in results), key=lambda finished: _SEVERITY[finished.status])

    def run_group(self, section: Section, index: int, entry: StepEntry) -> StepFinished:
        """Run the steps of a group until one doesn't pass; the last event of the worst."""
        results: list[StepFinished] = []
        for child in entry.children:
            results.append(self.run(section, index, child))
            if results[-1].status in ("failed", "error") and not child.raw.get("continueOnFailure"):
                break
        return max(results, key=lambda finished: _SEVERITY[finished.status])

    def _items(self, section: Section, index: int, entry: StepEntry) -> list[Mapping[str, Any]]:
        """What each run of the step adds to the values; a list that can't be had is one run, which tells."""
        if entry.foreach is None:
            return [{}]
        try:
            found = entry.items(self.values)
        except KoalesceError:
            return [{}]
        items = StepRun(self, section, index, entry).look_for(found) if isinstance(found, Places) else found
        return [
            {entry.foreach.item: item, "item": item, "index": number, **self._around(item)}
            for number, item in enumerate(items)
        ]

    def _around(self, item: Any) -> dict[str, Any]:
        """For an item that is a node of the cluster: `node`, and `others`, all nodes but it."""
        nodes = self.values.get("nodes", [])
        if not isinstance(item, Mapping) or item not in nodes:
            return {}
        return {"node": item, "others": [node for node in nodes if node != item]}

    def _keep_outputs(self, entry: StepEntry, found: list[dict[str, Any]]) -> None:
        """Add what the step gave to `outputs`; under foreach each output is the list over the items."""
        known: dict[str, Any] = self.values.setdefault("outputs", {})
        for name in {name for outputs in found for name in outputs}:
            values = [outputs.get(name) for outputs in found]
            known[name] = values if entry.foreach is not None else values[0]


_SEVERITY: dict[Status, int] = {"skipped": 0, "passed": 1, "failed": 2, "error": 3}

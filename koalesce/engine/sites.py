"""The clusters of a spec as its tests use them, and the namespaces of one test in each that it goes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from koalesce.cluster import Cluster
from koalesce.engine.namespaces import Namespaces, Wanted
from koalesce.engine.waiting import Waiter
from koalesce.errors import KoalesceError, UsageError
from koalesce.steps.sightings import Sightings


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A cluster. `values` are those that are its own: `cluster`, `nodes`; `noted` is what tests note for later ones."""

    cluster: Cluster
    values: Mapping[str, Any] = field(default_factory=dict)
    namespaces: Namespaces = field(default_factory=Namespaces)
    noted: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A cluster that a test has gone to, and what it has seen there."""

    name: str
    site: Site
    sightings: Sightings


class Stay:
    """One test on the clusters of its spec: its namespaces are made in a cluster when it first goes there."""

    def __init__(self, sites: Mapping[str, Site], home: str, wanted: Sequence[Wanted], waiter: Waiter) -> None:
        self.home = home
        self.entered: dict[str, Entered] = {}
        self._sites = sites
        self._wanted = wanted
        self._waiter = waiter
        self._made: list[tuple[Site, str]] = []

    def enter(self, name: str = "") -> Entered:
        """Go to a cluster, by default to the test's own; UsageError for one that isn't there."""
        name = name or self.home
        if name in self.entered:
            return self.entered[name]
        if name not in self._sites:
            raise UsageError(f'there is no cluster "{name}"', hint=f"there are: {', '.join(self._sites)}")
        site = self._sites[name]
        for wanted in self._wanted:
            site.namespaces.enter(site.cluster, wanted, self._waiter)
            self._made.append((site, wanted.name))
        self.entered[name] = Entered(name=name, site=site, sightings=Sightings(site.noted))
        return self.entered[name]

    def leave(self) -> list[str]:
        """Leave all namespaces, the last first; a sentence for each that could not be removed."""
        problems: list[str] = []
        while self._made:
            site, name = self._made.pop()
            try:
                site.namespaces.leave(site.cluster, name)
            except KoalesceError as error:
                problems.append(f"namespace {name}: {error.message}")
        return problems

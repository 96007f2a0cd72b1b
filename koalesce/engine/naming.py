"""What a run calls the folders and clusters of its specs, of which several may have one name, or names that begin alike."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from koalesce.kube.marks import slug
from koalesce.providers.naming import cluster_name
from koalesce.spec import LoadedSpec

_LONGEST = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The name of a spec's folder below that of the run, and those of its clusters by their sections."""

    folder: str
    clusters: Mapping[str, str]


def names_of(specs: Sequence[LoadedSpec], run_id: str) -> list[Names]:
    """The names of each spec of a run; no two of them have one in common, as their clusters may be up at the same time."""
    folders: set[str] = set()
    clusters: set[str] = set()
    found: list[Names] = []
    for loaded in specs:
        tries = (_names(loaded, run_id, number) for number in itertools.count(1))
        names = next(
            each for each in tries if each.folder not in folders and clusters.isdisjoint(each.clusters.values())
        )
        folders.add(names.folder)
        clusters.update(names.clusters.values())
        found.append(names)
    return found


def _names(loaded: LoadedSpec, run_id: str, number: int) -> Names:
    """What a spec's things are called if it is the `number`th, from 1, that would call them so."""
    name, cell = loaded.spec.metadata.name, loaded.cell
    twin = [str(number)] if number > 1 else []
    folder = "-".join([name, *([slug(str(cell), _LONGEST)] if cell is not None else []), *twin])

    def cluster(section: str) -> str:
        part = "-".join(part for part in (cell.short if cell is not None else "", section, *twin) if part)
        return cluster_name(name, run_id, part)

    return Names(folder=folder, clusters={section: cluster(section) for section in loaded.spec.cluster_specs})

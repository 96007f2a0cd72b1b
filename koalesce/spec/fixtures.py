"""What is wrong with the fixtures of a spec: names that nodes have, and steps that name one that there isn't.

Works on the data as written, so that a mistake elsewhere hides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from koalesce.spec.checks import items
from koalesce.spec.entries import StepEntry, body_of
from koalesce.spec.sections import cluster_sections
from koalesce.spec.source import Source
from koalesce.steps.vantage import Machines
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

# Fields of steps that hold a vantage point or a destination.
_SIDES = ("from", "to", "server", "control")
_VERBS = ("stop", "kill", "pause", "restart", "linkDown", "degrade")  # of chaos


def fixture_problems(
    data: Mapping[str, Any],
    source: Source,
    entries: Mapping[Path, list[StepEntry]],
    node_names: Mapping[str, Collection[str]],
) -> Iterator[Problem]:
    """Every problem of fixtures; `node_names` are those of each cluster, `entries` the steps by their lists."""
    written = data.get("fixtures")
    known = list(written) if isinstance(written, dict) else []
    if known and data.get("clusters"):
        yield source.problem_at(("fixtures",), "not supported by this version for several clusters", key=True)
    for name in known:
        if any(name in names for names in node_names.values()):
            yield source.problem_at(("fixtures", name), f'a node is named "{name}" as well', key=True)
    yield from _peers(written if isinstance(written, dict) else {}, source, node_names)
    for where, section in ((where, section) for where, _, section in cluster_sections(data)):
        for path, name in _texts_of(section.get("etcd"), (*where, "etcd")):
            if name not in known:
                yield source.problem_at(path, f'there is no fixture "{name}"', hint=_hint(name, known))
    for entry in (step for listed in entries.values() for each in listed for step in each.family if step.key):
        for where, name in _named(entry):
            if name not in known and "${{" not in name:
                yield entry.problem(where, f'there is no fixture "{name}"', hint=_hint(name, known))


def _hint(name: str, known: Collection[str]) -> str | None:
    return did_you_mean(name, known) or (f"there are: {', '.join(known)}" if known else None)


def _peers(fixtures: Mapping[str, Any], source: Source, node_names: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    """Peers of routers that there aren't, or that are no routers."""
    nodes = sorted({name for names in node_names.values() for name in names})
    for router, settings in fixtures.items():
        for index, peer in items(settings, "peers") if isinstance(settings, dict) else ():
            where = ("fixtures", router, "peers", index)
            named = peer["nodes"] if isinstance(peer.get("nodes"), list) else []
            yield from _unknown(peer.get("node"), nodes, "node", (*where, "node"), source)
            for number, name in enumerate(named):
                yield from _unknown(name, nodes, "node", (*where, "nodes", number), source)
            other = peer.get("fixture")
            yield from _unknown(other, list(fixtures), "fixture", (*where, "fixture"), source)
            if other == router:
                yield source.problem_at((*where, "fixture"), "a router is no peer of its own")
            elif isinstance(other, str) and isinstance(fixtures.get(other), dict) and "router" not in fixtures[other]:
                yield source.problem_at((*where, "fixture"), f"{other} is no router")


def _unknown(name: Any, known: Collection[str], what: str, where: Path, source: Source) -> Iterator[Problem]:
    if isinstance(name, str) and name not in known and "${{" not in name:
        hint = did_you_mean(name, known) or (f"there are: {', '.join(known)}" if known else None)
        yield source.problem_at(where, f'there is no {what} "{name}"', hint=hint)


def _named(entry: StepEntry) -> Iterator[tuple[Path, str]]:
    """Every name of a fixture in a step, with its path below the step."""
    body, _ = body_of(entry.type, entry.raw.get(entry.key))
    if not isinstance(body, Mapping):
        return
    places: list[tuple[Path, Any]] = [((entry.key, side), body.get(side)) for side in _SIDES]
    places += [((entry.key, verb), body.get(verb)) for verb in _VERBS if entry.key == "chaos"]
    if isinstance(cut := body.get("partition"), Mapping):
        places += [((entry.key, "partition", side), cut.get(side)) for side in ("from", "to")]
    if issubclass(entry.type, Machines):
        places.append(((entry.key,), body))
    for where, place in places:
        if isinstance(place, Mapping):
            yield from _texts(place.get("fixture"), (*where, "fixture"))
            yield from _texts_of(place, where)


def _texts_of(place: Any, where: Path) -> Iterator[tuple[Path, str]]:
    several = place.get("fixtures") if isinstance(place, Mapping) else None
    for index, name in enumerate(several if isinstance(several, list) else ()):
        yield from _texts(name, (*where, "fixtures", index))


def _texts(value: Any, where: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield where, value

"""What is wrong with the clusters of a spec: names that lead nowhere, nodes without a control plane, networks that overlap.

Works on the data as written, with what is known filled in, so that a mistake elsewhere hides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from koalesce.spec.address_checks import address_problems
from koalesce.spec.checks import component_names, duplicates, items, text_at
from koalesce.spec.control_plane_checks import as_count, control_plane_problems, counted
from koalesce.spec.entries import StepEntry
from koalesce.spec.sections import cluster_names, cluster_sections
from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

BUILT_IN_NETWORKS = ("bridge", "none")
BUILT_IN_DNS = ("coredns", "none")


def cluster_problems(
    data: Mapping[str, Any],
    source: Source,
    entries: Mapping[Path, list[StepEntry]],
    *,
    providers: Collection[str],
) -> Iterator[Problem]:
    """Every problem of clusters; `providers` are those that there are, `entries` the steps by their lists."""
    if data.get("clusters") and "cluster" in data:
        yield source.problem_at(("clusters",), "say cluster, or clusters for several, not both", key=True)
    if data.get("clusters") == {}:
        yield source.problem_at(("clusters",), "must not be empty", key=True)
    yield from _references(data, source, entries)
    for where, name, section in cluster_sections(data):
        yield from duplicates(items(section, "nodes"), (*where, "nodes"), "node", source)
        yield from _nodes(section, where, source)
        yield from control_plane_problems(section, where, source)
        yield from _addons(section, where, source)
        yield from _parts(data, section, where, name, source)
        yield from _provider(section, where, source, providers)
        yield from _reuse(data, section, where, name, source)
        yield from address_problems(section, where, source, _node_count(section))


def name_clashes(names: Collection[str], data: Mapping[str, Any], cluster: str, source: Source) -> Iterator[Problem]:
    """Names of nodes that would be given twice in a cluster, where the spec itself doesn't say one of them twice."""
    where, section = next((path, found) for path, name, found in cluster_sections(data) if name == cluster)
    written = [text_at(node, "name") for _, node in items(section, "nodes")]
    for name in sorted({name for name in names if list(names).count(name) > 1}):
        if written.count(name) < 2:
            yield source.problem_at((*where, "nodes"), f'two nodes would be named "{name}"', key=True)


def _references(data: Mapping[str, Any], source: Source, entries: Mapping[Path, list[StepEntry]]) -> Iterator[Problem]:
    """Names of clusters, wherever one says which it's for."""
    known = cluster_names(data)
    for where, name in _named(data):
        if found := _unknown(name, known):
            yield source.problem_at(where, found[0], hint=found[1])
    for entry in (step for listed in entries.values() for each in listed for step in each.family):
        chosen = entry.raw.get("cluster")
        if isinstance(chosen, str) and (found := _unknown(chosen, known)):
            yield entry.problem(("cluster",), found[0], hint=found[1])


def _unknown(name: str, known: list[str]) -> tuple[str, str] | None:
    """What is wrong with the name of a cluster, and a hint; None if nothing is, or it isn't known yet."""
    if "${{" in name or name in known:
        return None
    if not known:
        return "the spec has one cluster, which has no name", "leave it out; or name several under clusters"
    return f'there is no cluster "{name}"', did_you_mean(name, known) or f"there are: {', '.join(known)}"


def _named(data: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for index, test in items(data, "tests"):
        yield from _texts(test.get("cluster"), ("tests", index, "cluster"))
    setup = data.get("setup")
    yield from _texts(setup.get("cluster") if isinstance(setup, dict) else None, ("setup", "cluster"))
    for index, component in items(data, "components"):
        yield from _texts(component.get("cluster"), ("components", index, "cluster"))


def _texts(value: Any, where: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, list):
        yield from (((*where, index), name) for index, name in enumerate(value) if isinstance(name, str))


def _nodes(section: Mapping[str, Any], where: Path, source: Source) -> Iterator[Problem]:
    nodes = items(section, "nodes")
    if nodes and not any(node.get("role") == "control-plane" for _, node in nodes):
        message = "no node is a control plane"
        yield source.problem_at((*where, "nodes"), message, hint="give one of them role: control-plane")


def _addons(section: Mapping[str, Any], where: Path, source: Source) -> Iterator[Problem]:
    addons = section.get("addons")
    if addons and isinstance(addons, list) and _node_count(section) == 0:
        message = f"{', '.join(map(str, addons))}: a cluster without nodes can't have this"
        yield source.problem_at((*where, "addons"), message, key=True, hint="give it nodes")


def _parts(
    data: Mapping[str, Any], section: Mapping[str, Any], where: Path, cluster: str, source: Source
) -> Iterator[Problem]:
    """`network` and `dns` name something built in, or a component that is installed in the cluster; never both."""
    names = component_names(data)
    for field, built_in in (("network", BUILT_IN_NETWORKS), ("dns", BUILT_IN_DNS)):
        value = text_at(section, field)
        if value is None:
            continue
        if value in built_in and value in names:
            message = f'"{value}" is built in, and a component is named so as well'
            yield source.problem_at((*where, field), message, hint="give the component another name")
        elif value not in built_in and value not in names:
            message = f'"{value}" is neither a component of this spec nor one of {", ".join(built_in)}'
            yield source.problem_at((*where, field), message, hint=did_you_mean(value, {*names, *built_in}))
        elif value in names and not _is_installed(data["components"][names[value]], cluster, data):
            message = f'the component "{value}" isn\'t installed in the cluster "{cluster}"'
            yield source.problem_at((*where, field), message, hint=f"name {cluster} in the component's cluster")


def _is_installed(component: Mapping[str, Any], cluster: str, data: Mapping[str, Any]) -> bool:
    wanted = component.get("cluster")
    if wanted is None:
        return cluster in ("", *cluster_names(data)[:1])
    return cluster in wanted if isinstance(wanted, list) else wanted == cluster or "${{" in str(wanted)


def _provider(section: Mapping[str, Any], where: Path, source: Source, providers: Collection[str]) -> Iterator[Problem]:
    if not providers:
        return
    value = text_at(section, "provider")
    if value is not None and value not in providers:
        message = f'there is no cluster provider "{value}"'
        hint = f"there are: {', '.join(sorted(providers))}"
        yield source.problem_at((*where, "provider"), message, hint=did_you_mean(value, providers) or hint)


def _reuse(
    data: Mapping[str, Any], section: Mapping[str, Any], where: Path, cluster: str, source: Source
) -> Iterator[Problem]:
    """What is made ahead, or shared, is the one cluster of a spec; a shared one is disturbed by nobody."""
    for field, what in (("pool", "made ahead"), ("shared", "shared")):
        if cluster and section.get(field):
            message = f"clusters of a spec that has several can't be {what}"
            yield source.problem_at((*where, field), message, key=True, hint=f"leave out {field}, or say cluster")
    if cluster or section.get("shared") is not True:
        return
    for index, test in items(data, "tests"):
        if test.get("disruptive") is True:
            message = "a disruptive test needs a cluster that isn't shared"
            hint = "leave out cluster.shared, or take the test to a spec of its own"
            yield source.problem_at(("tests", index, "disruptive"), message, hint=hint)


def _node_count(section: Mapping[str, Any]) -> int:
    match section.get("nodes", 3):
        case bool():
            return 1
        case int(nodes):
            return nodes
        case dict(counts):
            return as_count(counts.get("workers", 0)) + as_count(counts.get("controlPlane", 1))
        case list(nodes):
            return counted(nodes)
    return 1

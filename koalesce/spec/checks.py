"""What is wrong between the parts of a spec: names that are taken or missing, circles, networks that overlap.

Works on the data as written, so that a mistake elsewhere hides nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

BUILT_IN_NETWORKS = ("bridge", "none")
BUILT_IN_DNS = ("coredns", "none")
_FABRIC = ipaddress.ip_network("198.18.0.0/15")
_NODE_PREFIX = 24


def structure_problems(
    data: Mapping[str, Any],
    source: Source,
    *,
    providers: Collection[str],
) -> list[Problem]:
    """Every problem between the parts of a spec; `providers` are the cluster providers that there are."""
    problems: list[Problem] = []
    for checks in (_duplicates, _test_names, _needs, _nodes, _cluster_names, _addresses):
        problems += checks(data, source)
    problems += _provider(data, source, providers)
    return problems


def _items(data: Any, *path: str) -> list[tuple[int, Mapping[str, Any]]]:
    """The maps of a list at a path, with their indexes."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return (
        [(index, item) for index, item in enumerate(data) if isinstance(item, dict)] if isinstance(data, list) else []
    )


def _text(data: Any, *path: str) -> str | None:
    """The text at a path, unless there is none or it has an expression."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data if isinstance(data, str) and "${{" not in data else None


def _duplicates(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    for path, what in ((("tests",), "test"), (("components",), "component"), (("cluster", "nodes"), "node")):
        seen: dict[str, int] = {}
        for index, item in _items(data, *path):
            name = _text(item, "name")
            if name is None:
                continue
            if name in seen:
                first = source.locate((*path, seen[name], "name")).line
                message = f'there is another {what} named "{name}", in line {first}'
                yield source.problem_at((*path, index, "name"), message)
            else:
                seen[name] = index


def _nodes(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    nodes = _items(data, "cluster", "nodes")
    if nodes and not any(node.get("role") == "control-plane" for _, node in nodes):
        message = "no node is a control plane"
        yield source.problem_at(("cluster", "nodes"), message, hint="give one of them role: control-plane")


def name_clashes(names: Collection[str], data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    """Names of nodes that would be given twice, where the spec itself doesn't say one of them twice."""
    written = [_text(node, "name") for _, node in _items(data, "cluster", "nodes")]
    for name in sorted({name for name in names if list(names).count(name) > 1}):
        if written.count(name) < 2:
            yield source.problem_at(("cluster", "nodes"), f'two nodes would be named "{name}"', key=True)


def _test_names(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    """Reports call the spec's own steps by the section that they stand in."""
    for index, test in _items(data, "tests"):
        if (name := _text(test, "name")) in ("setup", "cleanup"):
            message = f'"{name}" is what the spec\'s own {name} is called in reports'
            yield source.problem_at(("tests", index, "name"), message, hint="give the test another name")


def _component_names(data: Mapping[str, Any]) -> dict[str, int]:
    return {name: index for index, item in reversed(_items(data, "components")) if (name := _text(item, "name"))}


def _needs(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    names = _component_names(data)
    graph: dict[str, list[str]] = {}
    for index, item in _items(data, "components"):
        needs = item.get("needs")
        wanted = [need for need in needs if isinstance(need, str)] if isinstance(needs, list) else []
        for position, need in enumerate(wanted):
            if need not in names:
                where: Path = ("components", index, "needs", position)
                yield source.problem_at(where, f'there is no component "{need}"', hint=did_you_mean(need, names))
        if name := _text(item, "name"):
            graph.setdefault(name, []).extend(need for need in wanted if need in names)
    while circle := _circle(graph):
        where = ("components", names[circle[0]], "needs")
        message = f"components need each other in a circle: {' → '.join(circle)}"
        yield source.problem_at(where, message if len(circle) > 2 else f"{circle[0]} can't need itself", key=True)
        for name in circle[:-1]:
            del graph[name]


def _circle(graph: Mapping[str, list[str]]) -> list[str] | None:
    """The first circle of a graph, its first node repeated at the end."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for need in graph[name]:
            if need in graph and (found := visit(need, [*path, name])):
                return found
        done.add(name)
        return None

    return next((found for name in graph if (found := visit(name, []))), None)


def _cluster_names(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    """`cluster.network` and `cluster.dns` name something built in, or a component; never both."""
    names = _component_names(data)
    for field, built_in in (("network", BUILT_IN_NETWORKS), ("dns", BUILT_IN_DNS)):
        value = _text(data, "cluster", field)
        if value is None:
            continue
        if value in built_in and value in names:
            message = f'"{value}" is built in, and a component is named so as well'
            yield source.problem_at(("cluster", field), message, hint="give the component another name")
        elif value not in built_in and value not in names:
            message = f'"{value}" is neither a component of this spec nor one of {", ".join(built_in)}'
            yield source.problem_at(("cluster", field), message, hint=did_you_mean(value, {*names, *built_in}))


def _provider(data: Mapping[str, Any], source: Source, providers: Collection[str]) -> Iterator[Problem]:
    if not providers:
        return
    value = _text(data, "cluster", "provider")
    hint = f"there are: {', '.join(sorted(providers))}"
    if value is not None and value not in providers:
        message = f'there is no cluster provider "{value}"'
        yield source.problem_at(("cluster", "provider"), message, hint=did_you_mean(value, providers) or hint)


def _addresses(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    """Networks must not overlap, and pods need a /24 for each node."""
    networks = {
        field: network
        for field, default in (("podCIDR", "10.244.0.0/16"), ("serviceCIDR", "10.96.0.0/16"))
        if (network := _network(data, field, default)) is not None
    }
    pods, services = networks.get("podCIDR"), networks.get("serviceCIDR")
    if pods and services and pods.version == services.version and pods.overlaps(services):
        field = "serviceCIDR" if _text(data, "cluster", "serviceCIDR") else "podCIDR"
        yield source.problem_at(("cluster", field), f"addresses of pods ({pods}) and of Services ({services}) overlap")
    for field, network in networks.items():
        if network.version == 4 and network.overlaps(_FABRIC) and _text(data, "cluster", field):
            yield source.problem_at(
                ("cluster", field), f"{network} overlaps with {_FABRIC}, where the nodes' addresses are from"
            )
    nodes = _node_count(data)
    if pods and pods.version == 4 and 1 << max(0, _NODE_PREFIX - pods.prefixlen) < nodes:
        message = f"{pods} has no /{_NODE_PREFIX} for each of {nodes} nodes"
        yield source.problem_at(("cluster", "podCIDR"), message)
    if pods and pods.version == 4 and pods.prefixlen > _NODE_PREFIX:
        yield source.problem_at(("cluster", "podCIDR"), f"{pods} is smaller than the /{_NODE_PREFIX} that a node needs")


def _network(data: Mapping[str, Any], field: str, default: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    cluster = data.get("cluster")
    written = cluster.get(field, default) if isinstance(cluster, dict) else default
    try:
        return ipaddress.ip_network(written) if isinstance(written, str) else None
    except ValueError:
        return None


def _node_count(data: Mapping[str, Any]) -> int:
    cluster = data.get("cluster")
    nodes = cluster.get("nodes", 3) if isinstance(cluster, dict) else 3
    match nodes:
        case bool():
            return 1
        case int():
            return nodes
        case {"workers": int(workers)}:
            return workers + 1
        case list():
            return sum(
                count if isinstance(count := node.get("count", 1), int) else 1
                for node in nodes
                if isinstance(node, dict)
            )
    return 1

"""What is wrong between the parts of a spec: names that are taken or missing, circles.

Works on the data as written, so that a mistake elsewhere hides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean


def structure_problems(data: Mapping[str, Any], source: Source) -> list[Problem]:
    """Every problem between the parts of a spec, but for those of its clusters."""
    return [
        problem
        for checks in (_duplicates, _test_names, _needs, _pods_of_components)
        for problem in checks(data, source)
    ]


def items(data: Any, *path: str) -> list[tuple[int, Mapping[str, Any]]]:
    """The maps of a list at a path, with their indexes."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return (
        [(index, item) for index, item in enumerate(data) if isinstance(item, dict)] if isinstance(data, list) else []
    )


def text_at(data: Any, *path: str) -> str | None:
    """The text at a path, unless there is none or it has an expression."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data if isinstance(data, str) and "${{" not in data else None


def _duplicates(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    for path, what in ((("tests",), "test"), (("components",), "component")):
        yield from duplicates(items(data, *path), path, what, source)


def cell_problems(expanded: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    """Tests that are called as a cell of another is; `source` knows where the tests of the expanded document stand."""
    found = [(index, test) for index, test in items(expanded, "tests")]
    written = {test.get("name") for index, test in found if "matrix" not in test}
    if any("matrix" in test and test.get("name") in written for _, test in found):
        yield from duplicates(found, ("tests",), "test", source)


def duplicates(
    found: Iterable[tuple[int, Mapping[str, Any]]], path: Path, what: str, source: Source
) -> Iterator[Problem]:
    """Items of a list that have the name of one before them."""
    seen: dict[str, int] = {}
    for index, item in found:
        name = text_at(item, "name")
        if name is None:
            continue
        if name in seen:
            first = source.place((*path, seen[name], "name"))
            message = f'there is another {what} named "{name}", in {first}'
            yield source.problem_at((*path, index, "name"), message)
        else:
            seen[name] = index


def _test_names(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    """Reports call the spec's own steps by the section that they stand in."""
    for index, test in items(data, "tests"):
        if (name := text_at(test, "name")) in ("setup", "cleanup"):
            message = f'"{name}" is what the spec\'s own {name} is called in reports'
            yield source.problem_at(("tests", index, "name"), message, hint="give the test another name")


def component_names(data: Mapping[str, Any]) -> dict[str, int]:
    """The index of each component, by its name."""
    return {name: index for index, item in reversed(items(data, "components")) if (name := text_at(item, "name"))}


def _needs(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    names = component_names(data)
    graph: dict[str, list[str]] = {}
    for index, item in items(data, "components"):
        needs = item.get("needs")
        wanted = [need for need in needs if isinstance(need, str)] if isinstance(needs, list) else []
        for position, need in enumerate(wanted):
            if need not in names:
                where: Path = ("components", index, "needs", position)
                yield source.problem_at(where, f'there is no component "{need}"', hint=did_you_mean(need, names))
        if name := text_at(item, "name"):
            graph.setdefault(name, []).extend(need for need in wanted if need in names)
    while circle := _circle(graph):
        where = ("components", names[circle[0]], "needs")
        message = f"components need each other in a circle: {' → '.join(circle)}"
        yield source.problem_at(where, message if len(circle) > 2 else f"{circle[0]} can't need itself", key=True)
        for name in circle[:-1]:
            del graph[name]


def _pods_of_components(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    """Steps on `pods: {component: NAME}` of a component that there isn't; where others may bring components, that is seen later."""
    if data.get("include") or data.get("clusters"):
        return
    names = component_names(data)
    for section in ("setup", "cleanup", "tests", "components", "invariants"):
        for where, name in _named_components(data.get(section), (section,)):
            if name not in names:
                message = f'there is no component "{name}"'
                yield source.problem_at(where, message, hint=did_you_mean(name, names))


def _named_components(value: Any, where: Path) -> Iterator[tuple[Path, str]]:
    """Every name of a component in a selection of pods, with its place."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _named_components(item, (*where, index))
    elif isinstance(value, dict):
        if where[-1] == "pods" and (name := text_at(value, "component")) is not None:
            yield (*where, "component"), name
        for key, item in value.items():
            yield from _named_components(item, (*where, str(key)))


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

"""`include`: what shared files add to a spec, as if it stood in it, each value with its place in its own file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path as FilePath
from typing import Any

from koalesce.records import dataclass
from koalesce.spec.entries import Group
from koalesce.spec.shared import Shared, SharedFiles
from koalesce.spec.source import Source
from koalesce.yaml import Node, Problem
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import OtherFile

_LISTS: tuple[Path, ...] = (("components",), ("setup", "steps"), ("setup", "onFailure"))
_FILES_OF_A_CHART = ("kustomize", "helm")


@dataclass(slots=True)
class Including:
    """A spec with what it includes. `source` is the whole, `groups` those of the included files."""

    source: Source
    files: SharedFiles
    groups: dict[str, Group] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _done: set[FilePath] = field(default_factory=set)

    def include(self, file: FilePath) -> None:
        """Add all that the spec at `file` includes, in its order: before what the spec has itself."""
        own = self.source
        written = own.document.value.get("include")
        found: list[tuple[Shared, int]] = []
        for index, path in enumerate(written if isinstance(written, list) else []):
            if isinstance(path, str) and "${{" not in path:
                line = own.line(("include", index))
                found += [(shared, line) for shared in self._follow(path, own, ("include", index), file, ())]
            elif isinstance(path, str):
                self.problems.append(own.problem_at(("include", index), "expressions can't stand here"))
        if found:
            self._join(own, found, file.resolve().parent)

    def _follow(
        self, path: str, source: Source, where: Path, file: FilePath, chain: tuple[FilePath, ...]
    ) -> list[Shared]:
        """The file at a path, after those that it includes itself."""

        def say(message: str, hint: str | None) -> None:
            self.problems.append(source.problem_at(where, message, hint=hint))

        shared = self.files.find(path, file.resolve().parent, say)
        if shared is None:
            return []
        if shared.file in chain:
            names = [each.name for each in (*chain[chain.index(shared.file) :], shared.file)]
            say(f"files include each other in a circle: {' → '.join(names)}", None)
            return []
        if shared.file in self._done:
            return []
        self._done.add(shared.file)
        below = [
            each
            for index, more in enumerate(shared.data.get("include", []))
            for each in self._follow(more, shared.source, ("include", index), shared.file, (*chain, shared.file))
        ]
        return [*below, shared]

    def _join(self, own: Source, found: list[tuple[Shared, int]], folder: FilePath) -> None:
        lengths = dict.fromkeys(_LISTS, 0)
        whole = _copy(own.document)
        parts: list[Node] = []
        for shared, line in found:
            document = shared.source.document
            part = _placed(
                document, OtherFile(shared.source.path, shared.source.text, shared.file.parent, line, dict(lengths))
            )
            _rebase(part, shared.file.parent, folder)
            lengths = {where: length + len(_items(part, where)) for where, length in lengths.items()}
            parts.append(part)
            self._take_groups(shared)
        for where in _LISTS:
            joined = [child for part in parts for child in _items(part, where)] + _items(whole, where)
            if joined:
                _put_list(whole, where, joined)
        self._join_variables(whole, parts)
        self.source = Source(own.path, own.text, whole, {where: length for where, length in lengths.items() if length})

    def _take_groups(self, shared: Shared) -> None:
        for name, group in shared.groups.items():
            if name in self.groups:
                message = (
                    f'there is another group "{name}", in {self.groups[name].source.path}:{_line(self.groups[name])}'
                )
                self.problems.append(shared.source.problem_at(group.where, message, key=True))
            else:
                self.groups[name] = group

    def _join_variables(self, whole: Node, parts: list[Node]) -> None:
        """Variables of all files together; one that two of them have is a problem."""
        joined = Node({}, whole.position)
        joined.children = {}
        for part in [*parts, whole]:
            variables = part.child("vars")
            if variables is None or not isinstance(variables.children, dict):
                continue
            for name, child in variables.children.items():
                key = variables.keys[name]
                if name in joined.children:
                    first = joined.keys[name]
                    place = f"{first.file.path}:{first.line}" if first.file else f"line {first.line}"
                    message = f'there is another variable "{name}", in {place}'
                    self.problems.append(self.source.problem(key, message, where=("vars", name)))
                    continue
                joined.children[name], joined.keys[name] = child, key
                joined.value[name] = child.value
        if joined.value:
            _put(whole, "vars", joined)


def _line(group: Group) -> int:
    return group.source.locate(group.where, key=True).line


def _copy(node: Node) -> Node:
    """A node of its own over the same children."""
    copy = Node(dict(node.value) if isinstance(node.value, dict) else node.value, node.position)
    copy.keys = dict(node.keys)
    copy.children = dict(node.children) if isinstance(node.children, dict) else list(node.children)
    copy.size, copy.height = node.size, node.height
    return copy


def _placed(node: Node, other: OtherFile) -> Node:
    """The node and all below it, with the file that they stand in."""
    placed = _copy(node)
    placed.position = node.position._replace(file=other)
    placed.keys = {key: position._replace(file=other) for key, position in node.keys.items()}
    if isinstance(node.children, dict):
        placed.children = {key: _placed(child, other) for key, child in node.children.items()}
        if isinstance(placed.value, dict):
            placed.value = {key: placed.children[key].value for key in placed.value}
    else:
        placed.children = [_placed(child, other) for child in node.children]
        if isinstance(placed.value, list):
            placed.value = [child.value for child in placed.children]
    return placed


def _items(node: Node, where: Path) -> list[Node]:
    found = node.at(where)
    inside: Node | None = node
    for step in where:
        inside = inside.child(step) if inside is not None else None
    return list(found.children) if inside is not None and isinstance(found.children, list) else []


def _put(node: Node, key: str, child: Node) -> None:
    if not isinstance(node.children, dict):
        node.children = {}
    node.children[key] = child
    node.keys.setdefault(key, child.position)
    node.value[key] = child.value


def _put_list(whole: Node, where: Path, items: list[Node]) -> None:
    """Set the list at a path, with the maps on the way to it."""
    listed = Node([item.value for item in items], items[0].position)
    listed.children = items
    if len(where) == 1:
        _put(whole, str(where[0]), listed)
        return
    below = whole.child(where[0])
    inner = _copy(below) if below is not None and isinstance(below.value, dict) else Node({}, items[0].position)
    _put(inner, str(where[1]), listed)
    _put(whole, str(where[0]), inner)


def _rebase(part: Node, folder: FilePath, home: FilePath) -> None:
    """Paths of an included file's components, as seen from the spec: manifests are read relative to that."""
    for component in _items(part, ("components",)):
        manifests = component.child("manifests")
        if manifests is None or not isinstance(manifests.children, list) or not isinstance(manifests.value, list):
            continue
        for index, manifest in enumerate(manifests.children):
            manifest.value = _rebased(manifest.value, folder, home)
            manifests.value[index] = manifest.value


def _rebased(written: Any, folder: FilePath, home: FilePath) -> Any:
    if isinstance(written, str):
        return _seen_from(written, folder, home)
    if isinstance(written, Mapping):
        return {
            key: _seen_from(value, folder, home)
            if key in _FILES_OF_A_CHART and isinstance(value, str) and (folder / value).exists()
            else value
            for key, value in written.items()
        }
    return written


def _seen_from(path: str, folder: FilePath, home: FilePath) -> str:
    if path.startswith(("/", "${{")):
        return path
    return os.path.relpath(folder, home) + "/" + path if folder != home else path

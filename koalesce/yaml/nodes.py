"""Plain values beside the places where they were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from koalesce.yaml.problems import Position

Path = tuple[str | int, ...]


class Node:
    """A value of a document: plain data in `value`, and where it and its keys stand.

    `keys` are the places of a mapping's keys; `children` the nodes of a mapping (by key) or a list (by index). `size` counts
    the values that it holds with aliases written out, `height` how deeply they nest.
    """

    __slots__ = ("children", "height", "keys", "position", "size", "value")

    def __init__(self, value: Any, position: Position) -> None:
        self.value = value
        self.position = position
        self.keys: dict[str, Position] = {}
        self.children: dict[str, Node] | list[Node] = []
        self.size = 1
        self.height = 1

    def child(self, step: str | int) -> Node | None:
        """The node of a key or an index, or None."""
        if isinstance(self.children, dict):
            return self.children.get(step) if isinstance(step, str) else None
        if isinstance(step, int) and 0 <= step < len(self.children):
            return self.children[step]
        return None

    def at(self, path: Sequence[str | int]) -> Node:
        """The node of a path, or the deepest one on the way to it."""
        node = self
        for step in path:
            below = node.child(step)
            if below is None:
                return node
            node = below
        return node

    def locate(self, path: Sequence[str | int], *, key: bool = False) -> Position:
        """Where a value stands (`key`: where its key stands); for what isn't there, where its parent's key stands."""
        node, position = self, self.position
        for index, step in enumerate(path):
            below = node.child(step)
            if below is None:
                return position
            wants_key = key or index + 1 < len(path)
            own = node.keys.get(step) if isinstance(step, str) else None
            position = (
                own if own is not None and (wants_key or below.children or below.value is None) else below.position
            )
            node = below
        return position

    def walk(self) -> Iterator[tuple[Path, Node]]:
        """Every node with its path, in the order of the file, parents first."""
        pending: list[tuple[Path, Node]] = [((), self)]
        while pending:
            path, node = pending.pop()
            yield path, node
            if node.children:
                items = node.children.items() if isinstance(node.children, dict) else enumerate(node.children)
                pending += reversed([((*path, step), child) for step, child in items])


def format_path(path: Sequence[str | int]) -> str:
    """A path as people write it: `tests[2].steps[0].wait-for`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text

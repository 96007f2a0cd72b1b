"""What a test has seen of the cluster's objects: "gone" means something only of what was there."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from koalesce.kube import Resource
from koalesce.kube.selector import parse

_Key = tuple[str, str, str]  # resource, namespace, name or selection


class Sightings:
    """The memory of a test's steps; one for all of them. Writing to it is a matter of single dict operations.

    `lasting` outlives the test: what is noted for all that come later on the same cluster.
    """

    def __init__(self, lasting: dict[Any, Any] | None = None) -> None:
        self.lasting: dict[Any, Any] = {} if lasting is None else lasting
        self._labels: dict[_Key, Mapping[str, str]] = {}
        self._selections: set[_Key] = set()
        self._claimed: set[_Key] = set()
        self._numbers = itertools.count(1)
        self.marks: dict[Any, Any] = {}  # what steps note for later ones, by keys of their own

    def note(self, resource: Resource, objects: Iterable[Mapping[str, Any]]) -> None:
        """Objects are, or were, there."""
        for obj in objects:
            self._labels[_key(resource, obj)] = obj["metadata"].get("labels") or {}

    def note_selection(self, resource: Resource, namespace: str | None, selection: str) -> None:
        """A selection (a selector, an owner) has met at least one object."""
        self._selections.add((resource.name, namespace or "", selection))

    def has_seen(self, resource: Resource, namespace: str | None, name: str) -> bool:
        """Whether an object of this name was there at any time."""
        return (resource.name, (namespace or "") if resource.namespaced else "", name) in self._labels

    def has_met(self, resource: Resource, namespace: str | None, selection: str, selector: str | None) -> bool:
        """Whether this selection met an object at any time, or its selector takes one that was seen."""
        if (resource.name, namespace or "", selection) in self._selections:
            return True
        if selector is None or selection != selector:
            return False
        takes = parse(selector)
        return any(
            kind == resource.name and namespace in (None, where) and takes(labels)
            for (kind, where, _), labels in list(self._labels.items())
        )

    def claim(self, resource: Resource, namespace: str | None, name: str) -> bool:
        """Take the undoing of an object upon oneself; False if the test has done so before."""
        key = (resource.name, namespace or "", name)
        if key in self._claimed:
            return False
        self._claimed.add(key)
        return True

    def numbered(self) -> str:
        """What tells the undos of a test apart that are called alike: nothing for its first, otherwise a number."""
        number = next(self._numbers)
        return f" ({number})" if number > 1 else ""


def _key(resource: Resource, obj: Mapping[str, Any]) -> _Key:
    metadata = obj["metadata"]
    return (resource.name, metadata.get("namespace", "") if resource.namespaced else "", metadata["name"])

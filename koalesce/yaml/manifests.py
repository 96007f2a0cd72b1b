"""Manifests: files of Kubernetes objects, read as kubectl reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

from koalesce.records import dataclass
from koalesce.yaml.nodes import Node
from koalesce.yaml.problems import InvalidDocument, Position, Problem
from koalesce.yaml.reader import MANIFEST_LIMITS, read


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a manifest, and where it begins."""

    object: dict[str, Any]
    path: str
    line: int = 1

    def __str__(self) -> str:
        name = self.object["metadata"].get("name") or self.object["metadata"].get("generateName")
        return f"{self.object['kind']}/{name} ({self.path}:{self.line})"


def load_manifests(paths: Sequence[FilePath], *, shown: Sequence[str] | None = None) -> list[Manifest]:
    """The objects of files, in order; InvalidDocument with everything that is wrong in all of them.

    `shown` are the paths as people know them.
    """
    objects: list[Manifest] = []
    problems: list[Problem] = []
    for path, name in zip(paths, shown or [str(path) for path in paths], strict=True):
        try:
            objects += parse_manifests(read_text(path, name), name)
        except InvalidDocument as error:
            problems += error.problems
    if problems:
        raise InvalidDocument(problems)
    return objects


def parse_manifests(text: str, path: str) -> list[Manifest]:
    """The objects of a text of YAML documents or JSON; `List` kinds are taken apart; InvalidDocument for anything else."""
    documents, problems = _documents(text, path)
    objects: list[Manifest] = []
    for document in documents:
        if document.value is not None:
            found, wrong = _objects(document, text, path)
            objects += found
            problems += wrong
    if problems:
        raise InvalidDocument(problems)
    return objects


def read_text(path: FilePath, shown: str) -> str:
    """The text of a file; InvalidDocument where it can't be read or isn't UTF-8."""
    try:
        if path.stat().st_size > MANIFEST_LIMITS.size:
            raise InvalidDocument([_problem(shown, "", f"the file has more than {MANIFEST_LIMITS.size:,} bytes")])
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDocument([_problem(shown, "", f"not UTF-8: {error.reason} at byte {error.start}")]) from error
    except OSError as error:
        raise InvalidDocument([_problem(shown, "", f"can't be read: {error.strerror}")]) from error


def _documents(text: str, path: str) -> tuple[list[Node], list[Problem]]:
    """Nodes of each document. JSON proper is read as JSON, as kubectl does: it may be indented by tabs."""
    if text.lstrip()[:1] == "{":
        try:
            return [_plain(json.loads(text), Position(1, 1))], []
        except json.JSONDecodeError:  # more than one document, or YAML's flow style
            pass
        except RecursionError:
            return [], [_problem(path, text, f"nested more than {MANIFEST_LIMITS.depth} levels deep")]
    return read(text, path, rules="manifest")


def _plain(value: Any, position: Position) -> Node:
    """A node tree for values that came without positions, as deep as objects are looked into."""
    node = Node(value, position)
    if isinstance(value, dict):
        node.children = {key: _plain(child, position) for key, child in value.items()}
        node.keys = dict.fromkeys(value, position)
    elif isinstance(value, list):
        node.children = [_plain(child, position) for child in value]
    return node


def _objects(document: Node, text: str, path: str) -> tuple[list[Manifest], list[Problem]]:
    value = document.value
    if not isinstance(value, dict):
        return [], [Problem.at(path, text, document.position, f"not a Kubernetes object, but {_named(value)}")]
    if isinstance(value.get("kind"), str) and value["kind"].endswith("List") and _is_list(value):
        objects: list[Manifest] = []
        problems: list[Problem] = []
        items = document.child("items")
        for item in items.children if items is not None and isinstance(items.children, list) else []:
            found, wrong = _objects(item, text, path)
            objects += found
            problems += wrong
        return objects, problems
    wrong = [
        Problem.at(path, text, document.locate(where), message, where=".".join(where))
        for where, message in _missing(value)
    ]
    return ([], wrong) if wrong else ([Manifest(value, path, document.position.line)], [])


def _is_list(value: dict[str, Any]) -> bool:
    """Whether it has items, be they none: some programs write `items: null`."""
    return "items" in value and (value["items"] is None or isinstance(value["items"], list))


def _missing(value: dict[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """What an object needs in order to be one."""
    found: list[tuple[tuple[str, ...], str]] = [
        ((field,), f"an object needs {field}")
        for field in ("apiVersion", "kind")
        if not isinstance(value.get(field), str) or not value[field]
    ]
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return [*found, (("metadata",), "an object needs metadata.name")]
    if not any(isinstance(metadata.get(field), str) and metadata[field] for field in ("name", "generateName")):
        found.append((("metadata", "name"), "an object needs metadata.name"))
    return found


def _named(value: Any) -> str:
    match value:
        case list():
            return "a list"
        case str():
            return "a text"
        case bool():
            return "a boolean"
        case _:
            return "a number"


def _problem(path: str, text: str, message: str) -> Problem:
    return Problem.at(path, text, Position(1, 1), message)

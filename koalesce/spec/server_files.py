"""The API server's own files that a cluster names: its audit policy, and the configuration of its admission plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from koalesce.yaml import InvalidDocument, Problem
from koalesce.yaml.manifests import read_text
from koalesce.yaml.nodes import Node, Path
from koalesce.yaml.reader import read

# Field of the cluster's section: group and kind that the file must have.
SERVER_FILES: Mapping[str, tuple[str, str]] = {
    "auditPolicy": ("audit.k8s.io", "Policy"),
    "admissionConfiguration": ("apiserver.config.k8s.io", "AdmissionConfiguration"),
}


def server_file_problems(field: str, path: FilePath, shown: str) -> Iterator[Problem]:
    """What is wrong inside of a file: it must be one object of its kind, all of which is in it."""
    try:
        text = read_text(path, shown)
    except InvalidDocument as error:
        yield from error.problems
        return
    documents, problems = read(text, shown, rules="manifest")
    yield from problems
    if problems:
        return
    if len(documents) != 1:
        yield Problem(path=shown, line=1, column=1, message=f"has {len(documents)} documents, {field} is one")
        return
    for where, message in _wrong(field, documents[0]):
        yield Problem.at(shown, text, documents[0].locate(where), message, where=_shown(where))


def _wrong(field: str, document: Node) -> Iterator[tuple[Path, str]]:
    group, kind = SERVER_FILES[field]
    value: Any = document.value
    if not isinstance(value, dict):
        yield (), f"not an object of kind {kind}"
        return
    if str(value.get("apiVersion", "")).partition("/")[0] != group:
        yield ("apiVersion",), f"must be of {group}, such as {group}/v1"
    if value.get("kind") != kind:
        yield ("kind",), f"must be {kind}"
    if field == "auditPolicy" and not value.get("rules"):
        yield ("rules",), "a policy has rules, at least one"
    plugins = value.get("plugins")
    for index, plugin in enumerate(plugins if isinstance(plugins, list) else []):
        if isinstance(plugin, dict) and plugin.get("path"):
            message = "the node has no such file; write what is in it here, under configuration"
            yield ("plugins", index, "path"), message


def _shown(where: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where).removeprefix(".")

"""Makes koalesce/kube/builtin.json from a real API server that serves everything: `python -m tests.contract.builtin_table`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from koalesce.kube import Kube, Resource, builtin
from tests.contract.api_server import ApiServer, find_binaries

_PATH = Path(builtin.__file__).with_name("builtin.json")
_REF = "#/definitions/"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_FORMATS = {"date-time": "time", "int-or-string": "int-or-string"}
# Lists that Kubernetes replaces as a whole when it merges, though their elements have names: told apart by them when compared.
_BY_NAME = frozenset({"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"})


class Table:
    """The table of one API server, without the groups whose names end with `skip`."""

    def __init__(self, kube: Kube, *, skip: tuple[str, ...] = ()) -> None:
        self._definitions: Mapping[str, Any] = kube.request("GET", "/openapi/v2")["definitions"]
        self._resources = [resource for resource in kube.resources() if not resource.group.endswith(skip)]
        self._version = kube.version().removeprefix("v").rpartition(".")[0]
        self._types: dict[str, dict[str, str]] = {}
        self._names = self._short_names()

    def make(self) -> dict[str, Any]:
        """What builtin.json holds."""
        kinds = [self._row(resource) for resource in self._resources]
        return {"kubernetes": self._version, "kinds": kinds, "types": dict(sorted(self._types.items()))}

    def _short_names(self) -> dict[str, str]:
        """The last part of each definition's name, with its version and group where that isn't unique."""
        taken: dict[str, list[str]] = {}
        for name in self._definitions:
            taken.setdefault(name.rpartition(".")[2], []).append(name)
        return {
            name: short
            if len(names) == 1 or ".core.v1." in name or ".meta.v1." in name
            else ".".join(name.split(".")[-3:])
            for short, names in taken.items()
            for name in names
        }

    def _row(self, resource: Resource) -> str:
        scope = "namespaced" if resource.namespaced else "cluster"
        name = self._names[self._definition(resource)]
        self._read(self._definition(resource))
        words = (resource.api_version, resource.kind, resource.plural, scope, resource.singular, name)
        return " ".join([*words, *resource.short_names])

    def _definition(self, resource: Resource) -> str:
        wanted = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        return next(
            name
            for name, definition in self._definitions.items()
            if definition.get("x-kubernetes-group-version-kind") == [wanted]
        )

    def _read(self, name: str) -> str:
        """The type of a definition; those with fields are noted."""
        definition = self._definitions[name]
        if name == _QUANTITY:
            return "quantity"
        if "properties" not in definition:
            return self._plain(definition)
        short = self._names[name]
        if short not in self._types:
            fields = self._types[short] = {}
            fields.update((field, self._type(field, given)) for field, given in definition["properties"].items())
        return short

    def _type(self, field: str, given: Mapping[str, Any]) -> str:
        if reference := given.get("$ref"):
            return self._read(reference.removeprefix(_REF))
        if given.get("type") == "array":
            element = self._type("", given["items"])
            return f"{self._list(field, given)} of {element}"
        if given.get("type") == "object" and isinstance(given.get("additionalProperties"), dict):
            return f"map of {self._type('', given['additionalProperties'])}"
        return self._plain(given)

    def _list(self, field: str, given: Mapping[str, Any]) -> str:
        keys = list(given.get("x-kubernetes-list-map-keys") or ())
        first = given.get("x-kubernetes-patch-merge-key") or ("name" if field in _BY_NAME else None)
        if first:
            keys = [first, *(key for key in keys if key != first)]
        if keys:
            return f"list by {' '.join(keys)}"
        is_set = given.get("x-kubernetes-list-type") == "set" or given.get("x-kubernetes-patch-strategy") == "merge"
        return "set" if is_set else "list"

    def _plain(self, given: Mapping[str, Any]) -> str:
        if given.get("type") == "object" or "type" not in given:
            return "any"
        return _FORMATS.get(given.get("format", ""), given["type"])


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    """JSON with a line for each kind and type, so that a change of version can be read."""
    yield "{"
    yield f'"kubernetes": {json.dumps(table["kubernetes"])},'
    yield '"kinds": ['
    yield ",\n".join(json.dumps(row) for row in table["kinds"])
    yield "],"
    yield '"types": {'
    yield ",\n".join(f"{json.dumps(name)}: {json.dumps(fields)}" for name, fields in table["types"].items())
    yield "}}"


def main() -> None:
    """Start an API server, and write what it says."""
    binaries = find_binaries()
    if isinstance(binaries, str):
        sys.exit(binaries)
    with tempfile.TemporaryDirectory() as folder:
        server = ApiServer(binaries, Path(folder), flags=("--runtime-config=api/all=true",))
        try:
            server.start()
            _PATH.write_text("\n".join(_lines(Table(server.kube).make())) + "\n")
        finally:
            server.stop()


if __name__ == "__main__":
    main()

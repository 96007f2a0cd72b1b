"""Lists as `kubectl get` prints them: the API server makes the columns.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koalesce.kube.client import Kube
    from koalesce.kube.resource import Resource

_ACCEPT = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"


def render(
    kube: Kube,
    resource: Resource,
    namespace: str | None,
    query: Mapping[str, Any],
    *,
    wide: bool = False,
    timeout: float = 30.0,
) -> str:
    """The table of a kind's objects, with a NAMESPACE column where they come from all; `No resources found` if there are none."""
    answer = kube.request("GET", resource.path(namespace), query=query, accept=_ACCEPT, timeout=timeout)
    rows = _rows(answer, with_namespace=resource.namespaced and not namespace, wide=wide)
    return _align(rows) if len(rows) > 1 else "No resources found\n"


def _rows(answer: Mapping[str, Any], *, with_namespace: bool, wide: bool) -> list[list[str]]:
    if answer.get("kind") != "Table":  # an extension's server that makes no tables
        objects = [item["metadata"] for item in answer.get("items") or ()]
        return [["NAMESPACE", "NAME"], *([meta.get("namespace", ""), meta["name"]] for meta in objects)]
    columns = answer["columnDefinitions"]
    shown = [index for index, column in enumerate(columns) if wide or not column.get("priority")]
    header = [columns[index]["name"].upper() for index in shown]
    rows = [[_cell(row["cells"][index]) for index in shown] for row in answer.get("rows") or ()]
    if not with_namespace:
        return [header, *rows]
    namespaces = [row["object"]["metadata"].get("namespace", "") for row in answer.get("rows") or ()]
    return [["NAMESPACE", *header], *([namespace, *row] for namespace, row in zip(namespaces, rows, strict=True))]


def _cell(value: Any) -> str:
    return "<none>" if value is None or value == "" else str(value).replace("\n", " ")


def _align(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"

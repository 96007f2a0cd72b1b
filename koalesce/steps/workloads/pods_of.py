"""The pods that a selection means: by labels, by what they belong to, by the component that brought them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from koalesce.steps.base import Failed, StepContext
from koalesce.steps.objects.reading import Reader
from koalesce.steps.objects.reference import ResourceRef, Selection
from koalesce.steps.vantage import PodSelection

_WORKLOADS = ("deployments", "daemonsets", "statefulsets", "jobs", "replicasets")
_COMPONENT = "koalesce.dev/component"
Object = Mapping[str, Any]


def pods_of(pods: PodSelection, namespace: str | None, context: StepContext) -> list[Object] | Failed:
    """All pods that are meant, whatever state they are in, noted as seen; Failed, which says so, if there are none."""
    if pods.component is not None:
        known = context.variables.get("components") or {}
        if pods.component not in known:
            said = f"this spec has no component {pods.component}; it has {', '.join(known) or 'none'}"
            return Failed(said, expected="a component", actual="none", final=True)
        found = list(_of_component(pods.component, known[pods.component]["namespaces"], context))
    else:
        found = list(_of_selection(pods, pods.namespace or namespace, context))
    if found:
        return found
    where = "" if pods.component is not None else f" in namespace {pods.namespace or namespace or context.namespace}"
    return Failed(f"there is no pod{_clause(pods)}{where}", expected="at least one pod", actual="none")


def _clause(pods: PodSelection) -> str:
    if pods.component is not None:
        return f" of the component {pods.component}"
    matching = f" that matches {pods.selector}" if pods.selector else ""
    return matching + (f" of {pods.owner}" if pods.owner else "")


def _of_selection(pods: PodSelection, namespace: str | None, context: StepContext) -> Iterator[Object]:
    selection = Selection(
        resource=ResourceRef("pods"), namespace=namespace, selector=pods.selector or None,
        owner=ResourceRef.parse(pods.owner) if pods.owner else None,
    )  # fmt: skip
    yield from selection.find(context).objects


def _of_component(component: str, namespaces: Iterable[str], context: StepContext) -> Iterator[Object]:
    """Pods of the workloads that were applied with the component, and pods that were applied themselves."""
    reader = Reader.of(context)
    for namespace in namespaces:
        yield from reader.list(reader.kind("pods"), namespace, f"{_COMPONENT}={component}")
        for kind in _WORKLOADS:
            for workload in reader.list(reader.kind(kind), namespace, f"{_COMPONENT}={component}"):
                owner = f"{kind}/{workload['metadata']['name']}"
                yield from _of_selection(PodSelection(owner=owner), namespace, context)

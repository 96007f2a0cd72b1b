"""Where a destination's connections end: the places in which something has to listen for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.inside.places import Source, pod_name, select
from koalesce.steps.vantage import Machines
from koalesce.steps.wire.destination import Destination, Endpoint, Unmet, service_port

_PLACES = ("pod", "pods", "node", "nodes", "fixture", "fixtures")
Served = list[tuple[Source, int]] | Failed | Errored


def servers(to: Destination, endpoints: Sequence[Endpoint], context: StepContext) -> Served:
    """Each place with its port: that of an endpoint, or those pods which a Service sends to."""
    if to.service is not None:
        return _of_service(to.service, to, context)
    where = {name: getattr(to, name) for name in (*_PLACES, "namespace") if getattr(to, name) is not None}
    found = select(Machines.model_validate(where), context)
    if not isinstance(found, list):
        return found
    known = {source.uid: source for source in found}
    if gone := [endpoint.name for endpoint in endpoints if endpoint.uid not in known]:
        return Failed(f"{gone[0]} has gone while it was looked at")
    return [(known[endpoint.uid], endpoint.own_port or endpoint.port) for endpoint in endpoints]


def _of_service(name: str, to: Destination, context: StepContext) -> Served:
    """The pods of its EndpointSlices that are ready."""
    namespace = to.namespace or context.namespace
    kube, cancel = context.cluster.kube, context.scope.cancel
    service = context.view.get(kube.resource("services"), name, namespace, cancel=cancel) or {}
    try:
        port = service_port(service, to.port, to.protocol, name)
    except Unmet as unmet:
        return unmet.outcome
    selector = f"kubernetes.io/service-name={name}"
    slices = context.view.list(kube.resource("endpointslices"), namespace=namespace, selector=selector, cancel=cancel)
    found: dict[tuple[str, int], Source] = {}
    for pod, number in _ready(slices, port.get("name") or ""):
        source = select(Machines(pod=pod, namespace=namespace), context)
        if not isinstance(source, list):
            return source
        found[source[0].uid, number] = source[0]
    shown = pod_name({"metadata": {"name": name, "namespace": namespace}}, context)
    served = [(source, number) for (_, number), source in found.items()]
    return served or Failed(f"service {shown} has no ready endpoint that is a pod", "an endpoint", "none")


def _ready(slices: Sequence[Mapping[str, Any]], port: str) -> list[tuple[str, int]]:
    return [
        (endpoint["targetRef"]["name"], int(each["port"]))
        for one in slices
        for each in one.get("ports") or ()
        if (each.get("name") or "") == port and each.get("protocol", "TCP") == "TCP"
        for endpoint in one.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        and (endpoint.get("targetRef") or {}).get("kind") == "Pod"
    ]

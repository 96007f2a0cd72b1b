"""Positive controls: silence counts as a verdict of the network only from a source that can reach something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import model_validator

from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.destination import Destination, Endpoint, Endpoints
from koalesce.steps.wire.probing import KINDS, Batch, Observed, Seen, Target

# Nothing listens here as a rule (RFC 863), and whether it does is no matter: a refusal is an answer, too.
_ANY_PORT = 9


class Control(Destination):
    """What a source must be able to reach, so that its silence towards others means something.

    `ownNode: true` turns it round, for pods that may reach nothing at all: the pod's node must get an answer (a refusal will do) from the pod.
    """

    places: ClassVar[tuple[str, ...]] = (*Destination.places, "own_node")

    own_node: Literal[True] | None = None
    """The pod must answer its own node: proves that the pod's network lives where its egress is wholly closed."""

    @model_validator(mode="before")
    @classmethod
    def _needs_no_port(cls, value: object) -> object:
        if isinstance(value, dict) and (value.get("ownNode") or value.get("own_node")) and "port" not in value:
            return {**value, "port": _ANY_PORT}
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The control probes of some sources; `is_default` where the author named none."""

    sources: Sequence[Source]
    batches: Sequence[Batch]
    endpoints: Sequence[Endpoint]
    is_default: bool

    @classmethod
    def prepare(
        cls, control: Control | None, sources: Sequence[Source], limit: float, context: StepContext
    ) -> Proof | Failed | Errored:
        """What to probe, from each of the sources, to prove that they can reach something."""
        if not sources:
            return cls(sources=(), batches=(), endpoints=(), is_default=True)
        if control is not None and control.own_node:
            return cls._turned_round(control, sources, limit)
        endpoints = control.endpoints(None, context) if control is not None else _api_server(context)
        if not isinstance(endpoints, list):
            return endpoints
        kind = KINDS[control.protocol if control is not None else "TCP"]
        targets = [Target(type=kind, host=each.host, port=each.port, limit=limit) for each in endpoints]
        batches = [Batch(source=source, targets=targets) for source in sources]
        return cls(sources=sources, batches=batches, endpoints=endpoints, is_default=control is None)

    @classmethod
    def _turned_round(cls, control: Control, sources: Sequence[Source], limit: float) -> Proof | Errored:
        batches: list[Batch] = []
        port = int(control.port or _ANY_PORT)
        for source in sources:
            if source.kind != "pod" or source.node is None or not source.addresses:
                return Errored(
                    f"control: ownNode is for pods on nodes that run commands, {source.name} is none", final=True
                )
            node = Source(kind="node", name=source.node.name, node=source.node)
            batches.append(
                Batch(source=node, targets=[Target(type="tcp", host=source.addresses[0], port=port, limit=limit)])
            )
        return cls(sources=sources, batches=batches, endpoints=(), is_default=False)

    def check(self, seen: Sequence[Seen], reached: set[str]) -> str:
        """Which source has proved nothing, as a sentence; empty if all have. `reached` are sources that were let through anyway."""
        for source, answer in zip(self.sources, seen, strict=True):
            if self.is_default and source.name in reached:
                continue
            if not any(self.proves(observed) for observed in answer.results):
                return self._unproven(source, answer.results[0])
        return ""

    def proves(self, observed: Observed) -> bool:
        """Whether what came of a control probe shows that its source can reach something."""
        answers = ("allowed",) if self.endpoints else ("allowed", "refused")
        return observed.outcome in answers

    def _unproven(self, source: Source, observed: Observed) -> str:
        if not self.endpoints:
            return f"{source.name} does not even answer its own node: {observed}, so its silence proves nothing"
        what = f"{self.endpoints[0].name} ({self.endpoints[0]})"
        hint = "; name something that it may reach: control: {address: …, port: …}" if self.is_default else ""
        return f"{source.name} has no positive control, {what}: {observed}, so its silence proves nothing{hint}"


def _api_server(context: StepContext) -> Endpoints:
    """The API server, which each cluster has and sources may reach unless a policy forbids it: its Service, and itself."""
    service = Destination(service="kubernetes", namespace="default", port=443).endpoints(None, context)
    if not isinstance(service, list):
        return service
    kind = context.cluster.kube.resource("endpointslices")
    selector = "kubernetes.io/service-name=kubernetes"
    slices = context.view.list(kind, namespace="default", selector=selector, cancel=context.scope.cancel)
    own = [
        Endpoint(name="the API server", host=address, port=port["port"], kind="address")
        for each in slices
        for port in each.get("ports") or ()
        for endpoint in each.get("endpoints") or ()
        for address in endpoint.get("addresses", ())
    ]
    return [*service, *own]

"""Forward a local port to a port of a pod while other steps run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StrictInt, model_validator

from koalesce.steps.base import Background, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.wire.destination import Port
from koalesce.steps.wire.forwarding import Backend

if TYPE_CHECKING:
    from koalesce.kube.portforward import PortForward as Forward


class PortForward(Background, Backend, key="port-forward"):
    """Forward a port of this machine to a port of a pod, as `kubectl port-forward` does, until the test ends or a `stop` with its `id`.

    `outputs` read `port` (of this machine), `address` (`127.0.0.1:PORT`), `pod`, `namespace` and `remotePort`. Scripts reach it, and `curl`,
    `tcp` and `dns` from `host`, at 127.0.0.1. Any number of connections may be open at the same time. The pod is chosen once: when it's gone, or nothing
    listens there, connections are reset, and the `stop` fails and says why. To make a single request this way, `curl` has `via`.
    """

    port: Port | None = None
    """The port of the pod, Service or Deployment: a number or its name; a Service's only port needs not be said."""

    local_port: Annotated[StrictInt, Field(ge=1, le=65535)] | None = None
    """The port of this machine; default: any free one, which is what tests that run at the same time need."""

    @model_validator(mode="after")
    def _has_a_port(self) -> PortForward:
        if self.port is None and self.service is None:
            raise ValueError("port is missing")
        return self

    def title(self) -> str:
        """What it leads to."""
        port = f":{self.port}" if self.port is not None else ""
        return f"port-forward {self.place()}{port}"

    def start(self, context: StepContext) -> Forwarding | Failed | Errored:
        """Choose the pod and listen."""
        spot = self.spot(self.port, context)
        if isinstance(spot, Failed | Errored):
            return spot
        forward = context.cluster.kube.forward(
            spot.pod, namespace=spot.namespace, port=spot.port, local=self.local_port or 0
        )
        return Forwarding(forward)


class Forwarding:
    """A port-forward that goes on."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward

    @property
    def value(self) -> dict[str, Any]:
        """Where it listens, and where it leads."""
        forward = self._forward
        return {
            "port": forward.port, "address": f"127.0.0.1:{forward.port}", "pod": forward.pod,
            "namespace": forward.namespace, "remotePort": forward.remote,
        }  # fmt: skip

    def stop(self) -> Outcome:
        """Close it; failed where connections could not be made or broke."""
        self._forward.close()
        count, problems = self._forward.connections, self._forward.problems
        if problems:
            return Failed(problems[0], "connections that hold", "broken ones", "\n".join(problems[1:]), final=True)
        return Passed(f"{count} {'connection' if count == 1 else 'connections'}", {**self.value, "connections": count})

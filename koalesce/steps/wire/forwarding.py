"""Which pod and port a port-forward or the API server's proxy leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import StrictStr, model_validator

from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.wire.destination import Unmet, pod_port, service_port

Object = Mapping[str, Any]


class Backend(Model):
    """Who answers: exactly one of `pod`, `service` and `deployment`."""

    places: ClassVar[tuple[str, ...]] = ("pod", "service", "deployment")

    pod: StrictStr | None = None
    """A pod by its name."""

    service: StrictStr | None = None
    """A Service by its name: one of its ready pods."""

    deployment: StrictStr | None = None
    """A Deployment by its name: one of its ready pods."""

    namespace: StrictStr | None = None
    """Its namespace; default: the test's own."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Backend:
        given = [name for name in self.places if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"found {' and '.join(given)}" if given else "none is there"
            raise ValueError(f"say exactly one of {', '.join(self.places)}; {found}")
        return self

    @property
    def kind(self) -> str:
        """Which of the three it is."""
        return next(name for name in self.places if getattr(self, name) is not None)

    @property
    def name(self) -> str:
        """Its name."""
        return str(getattr(self, self.kind))

    def place(self) -> str:
        """It in a few words."""
        return f"{self.kind} {self.name}"

    def spot(self, port: int | str | None, context: StepContext) -> Spot | Failed | Errored:
        """The pod and the port that it now means; Failed where there is none (yet), Errored where there never will be."""
        try:
            return self._spot(port, context)
        except Unmet as unmet:
            return unmet.outcome

    def _spot(self, port: int | str | None, context: StepContext) -> Spot:
        found = self._get(context)
        if self.pod is not None:
            phase = found.get("status", {}).get("phase") or "Pending"
            if phase != "Running":
                raise Unmet(Failed(f"pod {self.name} does not run: {phase}", expected="Running", actual=str(phase)))
            return _spot(found, port)
        if self.deployment is not None:
            selector = ",".join(_terms(found.get("spec", {}).get("selector") or {}))
            return _spot(self._ready_pod(selector, context), port)
        labels = found.get("spec", {}).get("selector") or {}
        if not labels:
            raise Unmet(Errored(f"service {self.name} has no selector, so it names no pods", final=True))
        wanted = service_port(found, port, "TCP", self.name)
        pod = self._ready_pod(",".join(f"{key}={value}" for key, value in labels.items()), context)
        return _spot(pod, wanted.get("targetPort") or wanted["port"])

    def _get(self, context: StepContext) -> Object:
        kind = context.cluster.kube.resource(f"{self.kind}s")
        namespace = self.namespace or context.namespace
        found = context.view.get(kind, self.name, namespace, cancel=context.scope.cancel)
        if found is None:
            raise Unmet(Failed(f"{self.kind} {namespace}/{self.name} does not exist", actual="missing"))
        return found

    def _ready_pod(self, selector: str, context: StepContext) -> Object:
        kind = context.cluster.kube.resource("pods")
        namespace = self.namespace or context.namespace
        listed = context.view.list(kind, namespace=namespace, selector=selector, cancel=context.scope.cancel)
        ready = [pod for pod in listed if _is_ready(pod)]
        if not ready:
            said = f"{self.place()} has no ready pod ({len(listed)} match {selector})"
            raise Unmet(Failed(said, expected="a ready pod", actual="none"))
        return min(ready, key=lambda pod: str(pod["metadata"]["name"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A port of a pod."""

    pod: str
    namespace: str
    port: int


def _spot(pod: Object, port: int | str | None) -> Spot:
    metadata = pod["metadata"]
    number = pod_port(pod, port, metadata["name"])
    return Spot(pod=metadata["name"], namespace=metadata.get("namespace", ""), port=number)


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    is_ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return is_ready and "deletionTimestamp" not in pod["metadata"]


def _terms(selector: Object) -> Iterator[str]:
    """A LabelSelector as kubectl writes it."""
    yield from (f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items())
    for each in selector.get("matchExpressions") or ():
        values = ",".join(each.get("values") or ())
        match each["operator"]:
            case "In":
                yield f"{each['key']} in ({values})"
            case "NotIn":
                yield f"{each['key']} notin ({values})"
            case "Exists":
                yield each["key"]
            case _:
                yield f"!{each['key']}"

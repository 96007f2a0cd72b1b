"""Requests that don't go over the cluster's network: through a port-forward, or through the API server's proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import model_validator

from koalesce.kube import ApiError
from koalesce.models import Model
from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.forwarding import Backend
from koalesce.steps.wire.probing import Batch, Observed, Target, probe

_HOST = Source(kind="host", name="host")
_GIVEN_BY_US = ("authorization", "host")  # the API server's own


class Via(Model):
    """A way that needs no network to the pods; the URL says the port and the path, and its host is only a name."""

    port_forward: Backend | None = None
    """A port-forward to a pod, or to one of a Service's or Deployment's: `{portForward: {service: web}}`."""

    proxy: Backend | None = None
    """The API server's proxy to a pod or a Service: `{proxy: {pod: web-0}}`; the API server makes the request to the pod.
    What it says itself in the pod's place (no such pod, nothing listens there) is no answer."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Via:
        if (self.port_forward is None) == (self.proxy is None):
            raise ValueError("say exactly one of portForward and proxy")
        if self.proxy is not None and self.proxy.deployment is not None:
            raise ValueError("the API server's proxy leads to a pod or a service, not to a deployment")
        return self

    def place(self) -> str:
        """It in a few words."""
        if self.port_forward is not None:
            return f"port-forward to {self.port_forward.place()}"
        return f"proxy to {self.proxy.place()}" if self.proxy else ""

    def ask(self, target: Target, count: int, context: StepContext) -> list[Observed] | Failed | Errored:
        """Make a request so many times; Failed or Errored where there is nothing to make it to (yet)."""
        if self.port_forward is not None:
            return _by_port_forward(self.port_forward, target, count, context)
        backend = self.proxy or Backend()
        return [_by_proxy(backend, target, context) for _ in range(count)]


def port_of(url: str) -> int:
    """The port that a URL means."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _by_port_forward(
    backend: Backend, target: Target, count: int, context: StepContext
) -> list[Observed] | Failed | Errored:
    wish: dict[str, Any] = dict(target.http or {})
    parts = urlsplit(wish["url"])
    spot = backend.spot(port_of(wish["url"]), context)
    if isinstance(spot, Failed | Errored):
        return spot
    forward = context.cluster.kube.forward(spot.pod, namespace=spot.namespace, port=spot.port)
    try:
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        wish["resolve"] = {f"{host}:{port_of(wish['url'])}": f"127.0.0.1:{forward.port}"}
        stays = not wish.get("redirects")  # which are followed from this machine, wherever they lead
        batch = Batch(
            source=_HOST, targets=[replace(target, http=wish)] * count, own_network=True, is_led_in=stays
        )  # fmt: skip
        results = probe([batch], context)[0].results
        return [_explained(each, forward.problems) for each in results]
    finally:
        forward.close()


def _explained(observed: Observed, problems: Sequence[str]) -> Observed:
    """What a connection that was made to this machine only, and then reset, means: the pod's side was refused, or not reached."""
    if observed.http is not None or not problems:
        return observed
    outcome = "refused" if any("connection refused" in problem for problem in problems) else "error"
    return replace(observed, outcome=outcome, reason="; ".join(problems), failure="", stage="connect")  # type: ignore[arg-type]  # both are outcomes


def _by_proxy(backend: Backend, target: Target, context: StepContext) -> Observed:
    """One request through the API server. What it says itself, in the pod's place, is no answer."""
    wish: Mapping[str, Any] = target.http or {}
    path = _proxy_path(backend, wish["url"], context)
    headers = {name: ", ".join(values) for name, values in wish["headers"].items() if name.lower() not in _GIVEN_BY_US}
    body = wish["body"].encode() or None
    try:
        answer = context.cluster.kube.exchange(
            wish["method"], path, body=body, headers={"Accept": "*/*", **headers}, timeout=target.limit,
            cancel=context.scope.cancel,
        )  # fmt: skip
    except ApiError as error:
        return Observed(outcome="error", reason=error.message)
    seconds = answer.seconds
    text = answer.body.decode("utf-8", "replace")
    if answer.status >= 400 and (said := _status_message(text)):
        return Observed(outcome="error", reason=f"the API server answered in its place: {said}", seconds=seconds)
    http = {
        "status": answer.status, "url": wish["url"], "headers": dict(answer.headers), "body": text,
        "timing": {"total": seconds},
    }  # fmt: skip
    return Observed(outcome="allowed", seconds=seconds, http=http)


def _proxy_path(backend: Backend, url: str, context: StepContext) -> str:
    parts = urlsplit(url)
    scheme = "https:" if parts.scheme == "https" else ""
    namespace = quote(backend.namespace or context.namespace)
    where = f"{scheme}{quote(backend.name)}:{port_of(url)}"
    query = f"?{parts.query}" if parts.query else ""
    return f"/api/v1/namespaces/{namespace}/{backend.kind}s/{where}/proxy{parts.path or '/'}{query}"


def _status_message(text: str) -> str:
    """The message of a Status object of Kubernetes; empty if the text is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    is_status = isinstance(found, dict) and found.get("kind") == "Status" and found.get("apiVersion") == "v1"
    return str(found.get("message") or found.get("reason") or "a failure") if is_status else ""

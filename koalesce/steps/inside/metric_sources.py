"""Where metrics are read: through the API server's proxy, from the API server itself, or by a request from somewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, StrictStr, model_validator
from pydantic.alias_generators import to_camel

from koalesce.durations import Duration
from koalesce.errors import UsageError
from koalesce.kube import ApiError
from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, Files, StepContext
from koalesce.steps.inside.places import Source, nodes_of, pod_name, seconds_left, select, select_pods
from koalesce.steps.vantage import NodeNames, Pods, Vantage
from koalesce.steps.wire.destination import Port
from koalesce.steps.wire.http_answer import body_of
from koalesce.steps.wire.probing import DENIED_TO_HOST, Batch, Observed, Target, probe
from koalesce.steps.wire.tls import Tls
from koalesce.steps.workloads.pods_of import Object

# https://prometheus.io/docs/instrumenting/exposition_formats/
_ACCEPT = "text/plain;version=0.0.4,text/plain;q=0.5,*/*;q=0.1"
_MOST = 3 * 1024 * 1024
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Page:
    """The metrics of one source: what it's called, and what tells it from others throughout a test."""

    name: str
    identity: str
    text: str


Pages = list[Page] | Failed | Errored


class MetricSource(Model):
    """Where the metrics are: exactly one of `pod`, `pods`, `service`, `node`, `nodes`, `apiServer` and `url`."""

    places: ClassVar[tuple[str, ...]] = ("pod", "pods", "service", "node", "nodes", "api_server", "url")

    pod: StrictStr | None = None
    """A pod by its name, with `port`."""

    pods: Pods | None = None
    """Pods by a label selector, with `port`; each is looked at by itself."""

    service: StrictStr | None = None
    """A Service by its name; where it has several pods, any of them answers, so rather look at `pods`."""

    node: StrictStr | None = None
    """A node: its kubelet (`path: /metrics/cadvisor`, `/metrics/probes` and `/metrics/resource` as well), or what listens on `port` there."""

    nodes: NodeNames | None = None
    """Several nodes: `all`, `workers`, `controlPlane` or a list of names."""

    api_server: Literal[True] | None = None
    """The API server's own metrics."""

    url: StrictStr | None = None
    """A URL, requested `from` somewhere as `curl` does."""

    namespace: StrictStr | None = None
    """The namespace of pods and Services; default: the test's own."""

    port: Port | None = None
    """The port of the pods, the Service or the nodes: a number, or its name in the pods' or the Service's definition."""

    path: StrictStr = Field(default="/metrics", pattern="^/")
    """Where they are served."""

    scheme: Literal["http", "https"] = "http"
    """How pods, a Service or a node's port serve them; certificates aren't looked at on this way."""

    from_: Vantage | None = Field(default=None, alias="from")
    """From where a URL is requested: a pod, pods, a node, nodes, or `host` (default), which is this machine."""

    tls: Tls | None = None
    """Trust and identity for a URL with https."""

    max_time: Duration = Duration(5.0)
    """How long one request may take."""

    @model_validator(mode="after")
    def _is_complete(self) -> MetricSource:
        given = [name for name in self.places if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"found {' and '.join(map(to_camel, given))}" if given else "none is there"
            raise ValueError(f"say exactly one of {', '.join(map(to_camel, self.places))}; {found}")
        kind = given[0]
        if kind in ("pod", "pods") and self.port is None:
            raise ValueError("port is missing: where do the pods serve their metrics?")
        if kind not in ("pod", "pods", "service") and self.namespace is not None:
            raise ValueError(f"namespace belongs to pods and Services, not to {to_camel(kind)}")
        if kind in ("url", "api_server") and self.port is not None:
            raise ValueError(f"port belongs to pods, Services and nodes, not to {to_camel(kind)}")
        if kind in ("node", "nodes") and isinstance(self.port, str) and "${{" not in self.port:
            raise ValueError("a port of a node is a number")
        if kind != "url" and (self.from_ is not None or self.tls is not None):
            raise ValueError("from and tls are for a url; all else is read through the API server")
        self._check_url()
        return self

    def _check_url(self) -> None:
        if self.url is None or "${{" in self.url:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f'"{self.url}" is no http:// or https:// URL with a host')
        if "path" in self.model_fields_set:
            raise ValueError("a url has its path in it")

    def static_problems(self, files: Files) -> list[str]:
        """Files of `tls` that can't be had."""
        found: list[str] = []
        for path in self.tls.files() if self.tls else ():
            try:
                files.resolve(path)
            except UsageError as error:
                found.append(f"tls: {error.message}")
        return found

    def place(self) -> str:
        """The source in a few words."""
        if self.api_server:
            return "the API server"
        name = next(name for name in self.places if getattr(self, name) is not None)
        value = getattr(self, name)
        if name == "url":
            return f"{value}{f' from {self.from_.place()}' if self.from_ else ''}"
        return f"{name} {', '.join(value) if isinstance(value, list) else value}"

    @property
    def is_single(self) -> bool:
        """Whether there is one source, whatever there is in the cluster."""
        if self.from_ is not None:
            return self.from_.is_single
        return self.pods is None and self.nodes is None

    def pages(self, context: StepContext) -> Pages:
        """The text of each source; why one can't be had."""
        if self.url is not None:
            return self._by_request(self.url, context)
        wanted = self._paths(context)
        if not isinstance(wanted, list):
            return wanted
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(wanted))) as pool:
            read: Callable[[tuple[str, str, str]], Page | Failed] = lambda each: self._through_api(*each, context)  # noqa: E731
            found = list(pool.map(read, wanted))
        failed = [each for each in found if isinstance(each, Failed)]
        return failed[0] if failed else [each for each in found if isinstance(each, Page)]

    def _paths(self, context: StepContext) -> list[tuple[str, str, str]] | Failed | Errored:
        """Name, identity and path at the API server of each source."""
        path = quote(self.path, safe="/?=&")
        if self.api_server:
            return [("the API server", "api server", path)]
        prefix = "https:" if self.scheme == "https" else ""
        port = f":{self.port}" if self.port is not None else ""
        if self.node is not None or self.nodes is not None:
            nodes = nodes_of([self.node] if self.node is not None else self.nodes or [], context.cluster)
            if isinstance(nodes, Errored):
                return nodes
            named = [(node.name, f"{prefix if port else ''}{node.name}{port}") for node in nodes]
            return [(name, f"node {each}", f"/api/v1/nodes/{each}/proxy{path}") for name, each in named]
        where = self.namespace or context.namespace
        if self.service is not None:
            each = f"{prefix}{self.service}{port or (':' if prefix else '')}"
            return [
                (self.service, f"service {where}/{each}", f"/api/v1/namespaces/{where}/services/{each}/proxy{path}")
            ]
        pods = select_pods(self.pod, self.pods, self.namespace, context)
        if isinstance(pods, Failed):
            return pods
        return [self._pod_path(pod, prefix, path, context) for pod in pods]

    def _pod_path(self, pod: Object, prefix: str, path: str, context: StepContext) -> tuple[str, str, str]:
        metadata = pod["metadata"]
        each = f"{prefix}{metadata['name']}:{_port_of(pod, self.port)}"
        base = f"/api/v1/namespaces/{metadata['namespace']}/pods/{each}/proxy"
        return pod_name(pod, context), f"pod {metadata.get('uid')} {each}", f"{base}{path}"

    def _through_api(self, name: str, identity: str, path: str, context: StepContext) -> Page | Failed:
        limit = min(self.max_time.seconds, seconds_left(context.scope))
        try:
            text = context.cluster.kube.text("GET", path, accept=_ACCEPT, timeout=limit, cancel=context.scope.cancel)
        except ApiError as error:
            if error.status in (0, 401, 403):  # the API server's own silence, or refusal
                raise
            return Failed(f"{name}: its metrics can't be read: {error.message}", "metrics", "no answer")
        return Page(name, f"{identity}{self.path}", text)

    def _by_request(self, url: str, context: StepContext) -> Pages:
        sources = select(self.from_ or Vantage(host=True), context)
        if not isinstance(sources, list):
            return sources
        tls = self.tls.to_json(context) if self.tls is not None else None
        if isinstance(tls, Failed):
            return tls
        batches = [Batch(source=source, targets=[self._target(url, source, tls, context)]) for source in sources]
        seen = [answer.results[0] for answer in probe(batches, context)]
        found = [_page(url, source, answer) for source, answer in zip(sources, seen, strict=True)]
        bad = [each for each in found if not isinstance(each, Page)]
        return bad[0] if bad else [each for each in found if isinstance(each, Page)]

    def _target(self, url: str, source: Source, tls: Mapping[str, Any] | None, context: StepContext) -> Target:
        wish: dict[str, Any] = {
            "method": "GET",
            "url": url,
            "headers": {"Accept": [_ACCEPT]},
            "maxBody": _MOST,
            "deny": list(DENIED_TO_HOST) if source.kind == "host" else [],
        }
        if tls is not None:
            wish["tls"] = tls
        return Target(type="http", limit=min(self.max_time.seconds, seconds_left(context.scope)), http=wish)


def _page(url: str, source: Source, answer: Observed) -> Page | Failed | Errored:
    name = url if source.kind == "host" else f"{source.name}, {url}"
    if answer.http is None or answer.failure:
        return Failed(f"{name}: its metrics can't be read: {answer}", "metrics", answer.outcome)
    status = answer.http["status"]
    if status != 200:
        return Failed(f"{name}: its metrics can't be read: the answer's status is {status}", "200", str(status))
    if answer.http.get("truncated"):
        return Errored(f"{name}: the metrics have more than {_MOST} bytes", final=True)
    return Page(name, f"{source.kind} {source.uid} {url}", body_of(answer.http))


def _port_of(pod: Object, port: int | str | None) -> int | str | None:
    """The number of a port that has a name in the pod's definition."""
    ports = [each for container in pod["spec"].get("containers") or () for each in container.get("ports") or ()]
    return next((each["containerPort"] for each in ports if each.get("name") == port), port)

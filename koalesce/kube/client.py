"""One cluster's API: raw dicts in and out, server-side apply, strict validation."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from koalesce.kube.discovery import Discovery
from koalesce.kube.errors import BAD_ANSWER, CANCELLED, ApiError, UnknownKind
from koalesce.kube.limits import Limits
from koalesce.kube.resource import Resource
from koalesce.kube.stores import Stores
from koalesce.kube.view import View
from koalesce.process import Cancel

if TYPE_CHECKING:
    from datetime import datetime

    from koalesce.kube.exec_result import ExecResult
    from koalesce.kube.portforward import PortForward
    from koalesce.kube.transport import Answer, Transport

FIELD_MANAGER = "koalesce"
_PAGE = 500
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_BRING_KINDS = ("CustomResourceDefinition", "APIService")
Object = dict[str, Any]
Objects = list[Object]  # inside a class that has a method `list`, the word means the method


def preload() -> None:
    """Load what the first call needs, while there is time: `kubernetes` takes a quarter of a second.

    What goes wrong is left to the first call to say.
    """
    with contextlib.suppress(Exception):
        import koalesce.kube.transport  # noqa: F401


class Kube:
    """The API of one cluster; safe for many threads. Making one is cheap: nothing is read or asked before the first call.

    All methods raise ApiError (see `ApiError.transient`) where the server refuses or doesn't answer, ClusterError where the
    kubeconfig is of no use. Objects without a namespace go to `default` where their kind wants one. `timeout` is in seconds.
    """

    def __init__(self, kubeconfig: Path, *, context: str | None = None, limits: Limits | None = None) -> None:
        self.kubeconfig = kubeconfig
        self._context = context
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._is_closed = False
        self.on_secret: Callable[[Object], None] = lambda _secret: None  # told each Secret that is read or sent
        self._discovery = Discovery(lambda path, accept: self.request("GET", path, accept=accept))
        self._stores = Stores(lambda: self.transport, self.list_all, limits)

    @property
    def transport(self) -> Transport:
        """The connection, made at the first use."""
        with self._lock:
            if self._is_closed:
                raise ApiError("the connection to the cluster is closed", reason=CANCELLED)
            if self._transport is None:
                from koalesce.kube.transport import Transport  # loads `kubernetes`

                self._transport = Transport(self.kubeconfig, self._context)
            return self._transport

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str | None = None,
        accept: str | None = None,
        timeout: float = 30.0,
        cancel: Cancel | None = None,
    ) -> Any:
        """One call; returns the parsed JSON of its answer. `body` is JSON too; sequences in `query` are repeated."""
        self._tell_secrets(body)
        answer = self._send(method, path, query, body, content_type, accept, timeout, cancel)
        try:
            found = json.loads(answer.body)
            self._tell_secrets(found)
            return found
        except ValueError as error:
            text = answer.body[:200].decode("utf-8", "replace")
            raise ApiError(
                f"{method} {path}: the answer is no JSON: {text!r}", status=answer.status, reason=BAD_ANSWER
            ) from error

    def text(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str | None = None,
        accept: str | None = None,
        timeout: float = 30.0,
        cancel: Cancel | None = None,
    ) -> str:
        """One call; returns its answer as text (`/readyz?verbose`, `/metrics`, logs)."""
        return self._send(method, path, query, body, content_type, accept or "*/*", timeout, cancel).body.decode(
            "utf-8", "replace"
        )

    def version(self) -> str:
        """The server's version without the v: `1.37.2`."""
        return str(self.request("GET", "/version")["gitVersion"]).removeprefix("v")

    def now(self, *, timeout: float = 30.0, cancel: Cancel | None = None) -> datetime:
        """The time by the server's own clock, to the second."""
        from email.utils import parsedate_to_datetime

        answer = self._send("GET", "/version", None, None, None, None, timeout, cancel)
        try:
            return parsedate_to_datetime(answer.date)
        except ValueError as error:
            raise ApiError(f"GET /version: the answer has no date: {answer.date!r}", reason=BAD_ANSWER) from error

    def resources(self) -> tuple[Resource, ...]:
        """All kinds that the cluster serves, in its order of preference."""
        return self._discovery.resources()

    def forget_kinds(self) -> None:
        """Ask anew for the cluster's kinds before the next look at them."""
        self._discovery.forget()

    def resource(self, kind: str) -> Resource:
        """The kind that kubectl takes for `pod`, `po`, `Deployment`, `widgets.example.com`, `deployments.v1.apps`; UnknownKind."""
        return self._discovery.find(kind)

    def resource_of(self, obj: Mapping[str, Any]) -> Resource:
        """The kind of an object, by its apiVersion and kind."""
        api_version, kind = obj.get("apiVersion"), obj.get("kind")
        if not isinstance(api_version, str) or not isinstance(kind, str):
            raise ApiError("the object has no apiVersion and kind", status=400, reason="BadRequest")
        return self._discovery.find_kind(api_version, kind)

    def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        metadata_only: bool = False,
        subresource: str = "",
        timeout: float = 30.0,
        cancel: Cancel | None = None,
    ) -> Object | None:
        """The object (or its subresource, such as `scale`), or None if there is none."""
        path, accept = self._path(resource, namespace, name, subresource), _METADATA if metadata_only else None
        try:
            return _object(self.request("GET", path, accept=accept, timeout=timeout, cancel=cancel))
        except ApiError as error:
            if self._is_absent(error, resource):
                return None
            raise

    def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        from_cache: bool = False,
        timeout: float = 30.0,
        cancel: Cancel | None = None,
    ) -> Objects:
        """All objects of a namespace (None: of all namespaces) that the selectors take.

        `from_cache`: as the API server has them at hand, which may be some milliseconds old, and costs it far less.
        """
        query = {"labelSelector": selector, "fieldSelector": field_selector, **(_FROM_CACHE if from_cache else {})}
        accept = _METADATA_LIST if metadata_only else None

        def page(more: Mapping[str, Any]) -> Any:
            return self.request(
                "GET", resource.path(namespace), query={**query, **more}, accept=accept, timeout=timeout, cancel=cancel
            )

        return self._pages(resource, page)[0]

    def list_all(self, resource: Resource, namespace: str | None) -> tuple[Objects, str]:
        """All objects of a namespace (None: of all namespaces), and the resourceVersion of the whole."""
        return self._pages(resource, lambda more: self.request("GET", resource.path(namespace), query=more))

    def apply(
        self,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        field_manager: str = FIELD_MANAGER,
        force: bool = True,
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply; unknown fields are refused. Without `force`, fields of another manager are a conflict (409)."""
        self._expect_kinds(obj)
        resource, namespace, name = self._address(obj, namespace)
        if not name:
            raise ApiError(f"{obj['kind']}: an object to apply needs metadata.name", status=400, reason="BadRequest")
        query = {
            "fieldManager": field_manager,
            "force": force,
            "fieldValidation": "Strict",
            "dryRun": "All" if dry_run else None,
        }
        body = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}
        return _object(
            self.request(
                "PATCH",
                self._path(resource, namespace, name),
                query=query,
                body=body,
                content_type="application/apply-patch+yaml",
            )
        )

    def create(
        self,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        field_manager: str = FIELD_MANAGER,
        dry_run: bool = False,
    ) -> Object:
        """Create an object; 409 `AlreadyExists` if there is one. `metadata.generateName` works."""
        self._expect_kinds(obj)
        resource, namespace, _ = self._address(obj, namespace)
        query = _writing(field_manager, dry_run)
        return _object(self.request("POST", self._path(resource, namespace, None), query=query, body=obj))

    def replace(
        self,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        field_manager: str = FIELD_MANAGER,
        dry_run: bool = False,
    ) -> Object:
        """Put an object in the place of the one that is there; 409 `Conflict` if its resourceVersion is no longer current."""
        resource, namespace, name = self._address(obj, namespace)
        query = _writing(field_manager, dry_run)
        return _object(self.request("PUT", self._path(resource, namespace, name), query=query, body=obj))

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        body: Any,
        *,
        type: Literal["merge", "json", "strategic"] = "merge",  # noqa: A002 - kubectl's word
        subresource: str = "",
        field_manager: str = FIELD_MANAGER,
        dry_run: bool = False,
    ) -> Object:
        """Patch an object; `strategic` works on built-in kinds only."""
        query = _writing(field_manager, dry_run)
        path = self._path(resource, namespace, name, subresource)
        return _object(self.request("PATCH", path, query=query, body=body, content_type=_PATCH_TYPES[type]))

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> bool:
        """Ask for an object's deletion; False if there was none. It may take its time: finalizers, grace."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            self.request("DELETE", self._path(resource, namespace, name), body=body)
        except ApiError as error:
            if self._is_absent(error, resource):
                return False
            raise
        return True

    def evict(self, pod: str, namespace: str, options: Mapping[str, Any]) -> None:
        """Ask a pod to go as its disruption budgets allow it, `options` being those of a deletion; 429 where they don't."""
        body = {
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": {"apiVersion": "v1", "kind": "DeleteOptions", **options},
        }  # fmt: skip
        self.request("POST", f"{self._path(self.resource('pods'), namespace, pod)}/eviction", body=body)

    def exec(
        self,
        pod: str,
        command: Sequence[str],
        *,
        namespace: str,
        container: str | None = None,
        stdin: bytes | BinaryIO | None = None,
        stdout: BinaryIO | None = None,
        stderr: BinaryIO | None = None,
        size: Callable[[], tuple[int, int]] | None = None,
        timeout: float = 30.0,
        cancel: Cancel | None = None,
        cap: int = 1 << 20,
    ) -> ExecResult:
        """Run a command in a pod to its end; see `koalesce.kube.exec`."""
        from koalesce.kube.exec import run  # loads the websocket library

        return run(
            self.transport, pod, command, namespace=namespace, container=container,
            stdin=stdin, stdout=stdout, stderr=stderr, size=size, timeout=timeout, cancel=cancel, cap=cap,
        )  # fmt: skip

    def forward(self, pod: str, *, namespace: str, port: int, local: int = 0) -> PortForward:
        """Listen on a local port, by default a free one, for connections to a pod's port; see `koalesce.kube.portforward`."""
        from koalesce.kube.portforward import PortForward  # loads the websocket library

        return PortForward(self.transport, pod, namespace, port, local=local)

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        cancel: Cancel | None = None,
    ) -> Answer:
        """One call whose answer is taken as it is, whatever its status: what stands behind the API server's proxy has given it."""
        return self.transport.send(
            method, path, body=body, headers=headers, timeout=timeout, cancel=cancel, any_status=True
        )

    def logs(
        self,
        pod: str,
        *,
        namespace: str,
        container: str | None = None,
        previous: bool = False,
        tail_lines: int | None = None,
        since_seconds: int | None = None,
        since_time: str = "",
        timestamps: bool = False,
        timeout: float = 30.0,
        cancel: Cancel | None = None,
    ) -> str:
        """What a container wrote; of its run before this one with `previous`. A pod of several containers wants `container`."""
        from koalesce.kube import logs

        return logs.read(
            self, pod, namespace=namespace, container=container,
            previous=previous, tail_lines=tail_lines, since_seconds=since_seconds, since_time=since_time, timestamps=timestamps,
            timeout=timeout, cancel=cancel,
        )  # fmt: skip

    def table(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        selector: str = "",
        wide: bool = False,
        from_cache: bool = False,
        timeout: float = 30.0,
    ) -> str:
        """What `kubectl get` prints; `from_cache` as in `list`."""
        from koalesce.kube import table

        query = {"labelSelector": selector, **(_FROM_CACHE if from_cache else {})}
        return table.render(self, resource, namespace, query, wide=wide, timeout=timeout)

    def view(self, on_change: Callable[[], None]) -> View:
        """Watching reads; `on_change` is called, from another thread, when something that they read changes."""
        return View(self, self._stores, on_change)

    def close(self) -> None:
        """End all watches and calls."""
        with self._lock:
            self._is_closed = True
            transport = self._transport
        self._stores.close()
        if transport is not None:
            transport.close()
        self._stores.join()

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        content_type: str | None,
        accept: str | None,
        timeout: float,
        cancel: Cancel | None,
    ) -> Answer:
        headers = {"Accept": accept or "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type or "application/json"
        encoded = None if body is None else json.dumps(body).encode()
        return self.transport.send(
            method, path, query=query, body=encoded, headers=headers, timeout=timeout, cancel=cancel
        )

    def _tell_secrets(self, found: Any) -> None:
        if not isinstance(found, dict) or found.get("kind") not in ("Secret", "SecretList"):
            return
        for secret in (found,) if found["kind"] == "Secret" else found.get("items") or ():
            self.on_secret({**secret, "kind": "Secret"})

    def _expect_kinds(self, obj: Mapping[str, Any]) -> None:
        if obj.get("kind") in _BRING_KINDS:
            self._discovery.expect()

    def _pages(self, resource: Resource, page: Callable[[Mapping[str, Any]], Any]) -> tuple[Objects, str]:
        """All pages of a list; in one piece where the list changed so much that the next page is gone (410)."""
        items: Objects = []
        more: dict[str, Any] = {"limit": _PAGE}
        while True:
            try:
                answer = page(more)
            except ApiError as error:
                if error.status != 410 or "continue" not in more:
                    raise
                items, more = [], {}
                continue
            items += answer.get("items") or ()
            token = answer["metadata"].get("continue")
            if not token:
                break
            more = {"limit": _PAGE, "continue": token}
        for item in items:  # lists of built-in kinds leave these out
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return items, str(answer["metadata"].get("resourceVersion", ""))

    def _address(self, obj: Mapping[str, Any], namespace: str | None) -> tuple[Resource, str | None, str]:
        metadata = obj.get("metadata") or {}
        return self.resource_of(obj), metadata.get("namespace") or namespace, metadata.get("name") or ""

    def _path(self, resource: Resource, namespace: str | None, name: str | None, subresource: str = "") -> str:
        return resource.path(namespace or "default", name, subresource)

    def _is_absent(self, error: ApiError, resource: Resource) -> bool:
        """Whether a 404 means the object; where it means the kind, UnknownKind is raised."""
        if error.status != 404:
            return False
        if error.details.get("name"):
            return True
        self.forget_kinds()
        raise UnknownKind(f"the cluster no longer serves {resource}") from error


_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
# https://kubernetes.io/docs/reference/using-api/api-concepts/#the-resourceversion-parameter
_FROM_CACHE = {"resourceVersion": "0"}
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


def _writing(field_manager: str, dry_run: bool) -> dict[str, Any]:
    """What every request that writes says beside its body."""
    return {"fieldManager": field_manager, "fieldValidation": "Strict", "dryRun": "All" if dry_run else None}


def _object(answer: Any) -> Object:
    if not isinstance(answer, dict):
        raise ApiError(f"the answer is no object: {str(answer)[:200]}", reason=BAD_ANSWER)
    return answer

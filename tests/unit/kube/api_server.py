"""An API server in this process: configmaps, namespaces and widgets over HTTP, with watches and with troubles on demand."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

VERBS = ["create", "delete", "get", "list", "patch", "watch"]
KINDS: dict[str, dict[str, Any]] = {
    "/api/v1": {
        "configmaps": ("ConfigMap", True, ["cm"]),
        "namespaces": ("Namespace", False, ["ns"]),
        "componentstatuses": ("ComponentStatus", False, ["cs"]),
    },
    "/apis/apps/v1": {"deployments": ("Deployment", True, ["deploy"])},
    "/apis/apps/v1beta1": {"deployments": ("Deployment", True, ["deploy"]), "scales": ("Scale", True, [])},
}
Object = dict[str, Any]


class FakeApi:
    """What the server holds, what it was asked (`requests`), and what ails it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[tuple[str, str, bytes]] = []  # Content-Type, path, body
        self.kinds = {root: dict(kinds) for root, kinds in KINDS.items()}
        self.aggregated = True
        self.streaming = "served"  # served | refused | ignored
        self.failing: dict[str, tuple[int, Object | str]] = {}  # what a path contains -> status and body
        self.token: str | None = None
        self.deaf = False  # watches send nothing
        self.hanging_up = 0  # so many of the next calls are ended without an answer
        self.answering = threading.Event()
        self.answering.set()
        self.page = 500
        self.log: list[
            bytes
        ] = []  # what a pod wrote, as the chunks that it comes in; without any, a log tells its query
        self.on_exec: Callable[[ExecConnection], None] = lambda _connection: None
        self._objects: dict[str, Object] = {}
        self._events: list[tuple[int, str, Object]] = []
        self._version = 100
        self._oldest = 0
        self._moved = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self.closed = False

    # What happens in the cluster.

    def put(
        self, name: str, *, namespace: str = "default", labels: dict[str, str] | None = None, **fields: Any
    ) -> Object:
        """Create or change a config map; returns it."""
        with self._moved:
            path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
            return self._store(
                path, {"metadata": {"name": name, "namespace": namespace, "labels": labels or {}}, **fields}
            )

    def remove(self, name: str, *, namespace: str = "default") -> None:
        """Delete a config map."""
        with self._moved:
            self._drop(f"/api/v1/namespaces/{namespace}/configmaps/{name}")

    def compact(self) -> None:
        """Forget all events so far: a watch from before gets 410."""
        with self._moved:
            self._oldest = self._version

    def cut(self) -> None:
        """Break all watches that are open."""
        with self._moved:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
            self._sockets.clear()

    def watches(self) -> list[dict[str, str]]:
        """The queries of all watches that were asked for."""
        return [query for method, _, query in list(self.requests) if method == "GET" and query.get("watch") == "true"]

    def count(self, method: str, part: str) -> int:
        """How many calls other than watches had this in their path."""
        calls = [call for call in list(self.requests) if "watch" not in call[2]]
        return sum(1 for called, path, _ in calls if called == method and part in path)

    def close(self) -> None:
        with self._moved:
            self.closed = True
            self.answering.set()
            self._moved.notify_all()
        self.cut()

    # What the handlers call.

    def get(self, path: str) -> Object | None:
        with self._moved:
            return self._objects.get(path)

    def all_of(self, namespace: str, plural: str, selector: str) -> tuple[list[Object], int]:
        with self._moved:
            return [
                obj for path, obj in self._objects.items() if _is_in(path, namespace, plural, obj, selector)
            ], self._version

    def write(self, path: str, obj: Object) -> Object:
        with self._moved:
            return self._store(path, obj)

    def drop(self, path: str) -> bool:
        with self._moved:
            return self._drop(path)

    def watched_by(self, connection: socket.socket) -> None:
        """This is a watch's connection: `cut` breaks it."""
        with self._moved:
            self._sockets.add(connection)

    def events(self, connection: socket.socket, since: int) -> Iterator[tuple[str, Object]]:
        """Events after `since` as they come, until the server closes or the watch is cut."""
        while True:
            with self._moved:
                while not self.closed and connection in self._sockets and (self.deaf or self._version <= since):
                    self._moved.wait(0.05)
                if self.closed or connection not in self._sockets:
                    return
                fresh = [event for event in self._events if event[0] > since]
                since = self._version
            for _, kind, obj in fresh:
                yield kind, obj

    def is_expired(self, since: int) -> bool:
        return since < self._oldest

    def _store(self, path: str, obj: Object) -> Object:
        self._version += 1
        old = self._objects.get(path)
        meta = {
            "uid": old["metadata"]["uid"] if old else f"uid-{self._version}",
            **obj["metadata"],
            "resourceVersion": str(self._version),
            "managedFields": [{"manager": "someone"}],
        }
        stored = {"apiVersion": "v1", "kind": "ConfigMap", **obj, "metadata": meta}
        self._objects[path] = stored
        self._events.append((self._version, "MODIFIED" if old else "ADDED", stored))
        self._moved.notify_all()
        return stored

    def _drop(self, path: str) -> bool:
        obj = self._objects.pop(path, None)
        if obj is None:
            return False
        self._version += 1
        gone = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
        self._events.append((self._version, "DELETED", gone))
        self._moved.notify_all()
        return True


class ExecConnection:
    """The server's side of an exec after its handshake."""

    def __init__(self, handler: Handler) -> None:
        self.is_holding = False  # frames are sent together with the next one that isn't held
        self._held = b""
        self._handler = handler

    def send(self, channel: int, data: bytes) -> None:
        """One binary frame."""
        self.frame(bytes([channel]) + data)

    def frame(self, payload: bytes, *, opcode: int = 2, final: bool = True) -> None:
        first = (0x80 if final else 0) | opcode
        size = len(payload)
        if size < 126:
            header = bytes([first, size])
        elif size < 65536:
            header = bytes([first, 126]) + size.to_bytes(2, "big")
        else:
            header = bytes([first, 127]) + size.to_bytes(8, "big")
        self._held += header + payload
        if not self.is_holding:
            self._handler.wfile.write(self._held)
            self._handler.wfile.flush()
            self._held = b""

    def finish(self, code: int = 0) -> None:
        """Say how the command ended, as the kubelet does."""
        if code == 0:
            status: Object = {"status": "Success"}
        else:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            status = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
        self.send(3, json.dumps({"kind": "Status", **status}).encode())

    def receive(self) -> bytes | None:
        """One frame from the client; None once it has gone."""
        read = self._handler.rfile.read
        head = read(2)
        if len(head) < 2:
            return None
        size = head[1] & 127
        if size == 126:
            size = int.from_bytes(read(2), "big")
        elif size == 127:
            size = int.from_bytes(read(8), "big")
        mask, data = read(4), read(size)
        return None if head[0] & 15 == 8 else bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))

    def cut(self) -> None:
        """Break the connection."""
        socket.socket.shutdown(self._handler.connection, socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: FakeApi

    def do_GET(self) -> None:
        self._handle(self._get)

    def do_POST(self) -> None:
        self._handle(self._write)

    def do_PATCH(self) -> None:
        self._handle(self._write)

    def do_DELETE(self) -> None:
        self._handle(self._delete)

    def log_message(self, *_words: Any) -> None:
        pass

    def _handle(self, answer: Callable[[str, dict[str, str]], None]) -> None:
        url = urlparse(self.path)
        query = {key: ",".join(values) for key, values in parse_qs(url.query).items()}
        self.api.requests.append((self.command, url.path, query))
        with contextlib.suppress(OSError):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if body:
                self.api.bodies.append((self.headers["Content-Type"], url.path, body))
            self.body = body
            self.api.answering.wait()
            if self.api.hanging_up:
                self.api.hanging_up -= 1
                self.close_connection = True
                return
            if self.api.token and self.headers.get("Authorization") != f"Bearer {self.api.token}":
                self._refuse(401, "Unauthorized", "Unauthorized")
                return
            for part, (status, trouble) in list(self.api.failing.items()):
                if part in url.path:
                    self._answer(status, trouble)
                    return
            answer(url.path, query)

    def _get(self, path: str, query: dict[str, str]) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._exec()
        elif path == "/version":
            self._answer(200, {"gitVersion": "v1.37.2"})
        elif path in ("/api", "/apis"):
            self._answer(200, self._discovery(path))
        elif path in self.api.kinds:
            self._answer(200, self._listed_kinds(path))
        elif path.endswith("/log"):
            self._log(query)
        else:
            self._objects(path, query)

    def _log(self, query: dict[str, str]) -> None:
        if not self.api.log:
            self._answer(200, f"log {json.dumps(query, sort_keys=True)}\n")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in (*self.api.log, b""):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()

    def _objects(self, path: str, query: dict[str, str]) -> None:
        root, namespace, plural, name = _parts(path)
        if plural not in self.api.kinds.get(root, {}):
            self._answer(404, "404 page not found\n")
        elif name:
            obj = self.api.get(path)
            if obj is None:
                self._refuse(404, "NotFound", f'{plural} "{name}" not found', name=name)
            else:
                self._answer(200, obj)
        elif query.get("watch") == "true":
            self._watch(namespace, plural, query)
        else:
            self._list(namespace, plural, query)

    def _list(self, namespace: str, plural: str, query: dict[str, str]) -> None:
        items, version = self.api.all_of(namespace, plural, query.get("labelSelector", ""))
        start = int(query.get("continue", 0))
        end = start + self.api.page if "limit" in query else len(items)
        meta: Object = {"resourceVersion": str(version)}
        if end < len(items):
            meta["continue"] = str(end)
        bare = [
            {key: value for key, value in item.items() if key not in ("apiVersion", "kind")}
            for item in items[start:end]
        ]
        if "as=Table" in self.headers["Accept"]:
            columns = [{"name": "Name"}, {"name": "Data"}, {"name": "Hidden", "priority": 1}]
            rows = [
                {"cells": [i["metadata"]["name"], len(i.get("data", {})), "x"], "object": {"metadata": i["metadata"]}}
                for i in bare
            ]
            self._answer(200, {"kind": "Table", "columnDefinitions": columns, "rows": rows})
            return
        self._answer(200, {"kind": "ConfigMapList", "metadata": meta, "items": bare})

    def _watch(self, namespace: str, plural: str, query: dict[str, str]) -> None:
        asks_list = query.get("sendInitialEvents") == "true"
        if asks_list and self.api.streaming == "refused":
            self._refuse(
                422, "Invalid", "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            )
            return
        initial: list[Object] = []
        if query.get("resourceVersion"):
            since = int(query["resourceVersion"])
        else:
            initial, since = self.api.all_of(namespace, plural, "")
        self.api.watched_by(self.connection)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        if self.api.is_expired(since):
            self._event(
                "ERROR",
                {"kind": "Status", "code": 410, "reason": "Expired", "message": f"too old resource version: {since}"},
            )
            self.wfile.write(b"0\r\n\r\n")
            return
        for obj in initial:
            self._event("ADDED", obj)
        if asks_list and self.api.streaming == "served":
            meta = {"resourceVersion": str(since), "annotations": {"k8s.io/initial-events-end": "true"}}
            self._event("BOOKMARK", {"kind": "ConfigMap", "metadata": meta})
        for kind, obj in self.api.events(self.connection, since):
            if not namespace or obj["metadata"]["namespace"] == namespace:
                self._event(kind, obj)
        self.close_connection = True

    def _event(self, kind: str, obj: Object) -> None:
        line = json.dumps({"type": kind, "object": obj}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()

    def _write(self, path: str, query: dict[str, str]) -> None:
        obj = json.loads(self.body)
        if isinstance(obj, dict) and "metadata" in obj:
            name = obj["metadata"].get("name")
            target = path if self.command == "PATCH" else f"{path}/{name}"
            namespace = _parts(target)[1]
            stored = self.api.write(target, {**obj, "metadata": {"namespace": namespace, **obj["metadata"]}})
        else:
            target = path.removesuffix("/status")
            stored = self.api.write(target, {**(self.api.get(target) or {}), "patched": obj})
        self._answer(200, stored)

    def _delete(self, path: str, query: dict[str, str]) -> None:
        name = path.rsplit("/", 1)[1]
        if self.api.drop(path):
            self._answer(200, {"kind": "Status", "status": "Success"})
        else:
            self._refuse(404, "NotFound", f'"{name}" not found', name=name)

    def _exec(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        offered = [word.strip() for word in self.headers["Sec-WebSocket-Protocol"].split(",")]
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", getattr(self.api, "protocol", offered[0]))
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        self.api.on_exec(ExecConnection(self))

    def _discovery(self, path: str) -> Object:
        groups: dict[str, list[str]] = {}
        for root in self.api.kinds:
            group, _, version = root.removeprefix("/api/").removeprefix("/apis/").rpartition("/")
            if root.startswith(path + "/"):
                groups.setdefault(group, []).append(version)
        if self.api.aggregated and "APIGroupDiscoveryList" in self.headers["Accept"]:
            return {"kind": "APIGroupDiscoveryList", "items": [self._group(path, *entry) for entry in groups.items()]}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        entries = [
            {
                "name": group,
                "versions": [{"version": v} for v in reversed(versions)],
                "preferredVersion": {"version": versions[0]},
            }
            for group, versions in groups.items()
        ]
        return {"kind": "APIGroupList", "groups": entries}

    def _group(self, path: str, group: str, versions: list[str]) -> Object:
        entries = []
        for version in versions:
            root = f"{path}/{group}/{version}" if group else f"{path}/{version}"
            resources = [
                {
                    "resource": plural,
                    "responseKind": {"group": "", "version": "", "kind": kind},
                    "scope": "Namespaced" if namespaced else "Cluster",
                    "verbs": ["get", "list"] if plural == "componentstatuses" else VERBS,
                    "singularResource": kind.lower(),
                    "shortNames": short,
                }
                for plural, (kind, namespaced, short) in self.api.kinds[root].items()
            ]
            entries.append({"version": version, "resources": resources})
        return {"metadata": {"name": group} if group else {}, "versions": entries}

    def _listed_kinds(self, path: str) -> Object:
        entries: list[Object] = [
            {"name": "deployments/status", "kind": "Deployment", "namespaced": True, "verbs": ["get"]}
        ]
        for plural, (kind, namespaced, short) in self.api.kinds[path].items():
            entries.append(
                {
                    "name": plural,
                    "singularName": "",
                    "kind": kind,
                    "namespaced": namespaced,
                    "verbs": VERBS,
                    "shortNames": short,
                }
            )
        return {"kind": "APIResourceList", "resources": entries}

    def _refuse(self, status: int, reason: str, message: str, *, name: str = "") -> None:
        details = {"name": name} if name else {}
        self._answer(
            status,
            {
                "kind": "Status",
                "status": "Failure",
                "code": status,
                "reason": reason,
                "message": message,
                "details": details,
            },
        )

    def _answer(self, status: int, body: Object | str) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_words: Any) -> None:
        pass  # a client that goes away is part of the tests


@contextlib.contextmanager
def serve(api: FakeApi, folder: Path, *, certificate: tuple[Path, Path] | None = None, port: int = 0) -> Iterator[Path]:
    """Serve on a port, by default a free one; yields the path of a kubeconfig in `folder`. `certificate`: its file and its key's, for TLS."""
    server = Server(("127.0.0.1", port), type("BoundHandler", (Handler,), {"api": api}))
    scheme = "http"
    cluster: Object = {}
    if certificate:
        scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        cluster["certificate-authority"] = str(certificate[0])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    cluster["server"] = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    kubeconfig = folder / "kubeconfig"
    write_kubeconfig(kubeconfig, cluster, {"token": "first"})
    try:
        yield kubeconfig
    finally:
        api.close()
        server.shutdown()
        thread.join()
        server.server_close()


def write_kubeconfig(path: Path, cluster: Object, user: Object) -> None:
    """A kubeconfig of one context (JSON is YAML)."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": user}],
    }
    path.write_text(json.dumps(document))


def _parts(path: str) -> tuple[str, str, str, str]:
    """Group's root, namespace, plural, name."""
    words = path.strip("/").split("/")
    count = 2 if words[0] == "api" else 3
    root, rest, namespace = "/" + "/".join(words[:count]), words[count:], ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    return root, namespace, rest[0] if rest else "", rest[1] if len(rest) > 1 else ""


def _is_in(path: str, namespace: str, plural: str, obj: Object, selector: str) -> bool:
    _, held_in, held_as, _ = _parts(path)
    key, _, value = selector.partition("=")
    labels = obj["metadata"].get("labels") or {}
    return held_as == plural and namespace in ("", held_in) and (not selector or labels.get(key) == value)

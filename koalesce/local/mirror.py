"""A read-only image registry inside the cluster's network, straight from the machine's image store.

Nodes pull what they need when they need it. It speaks the part of the OCI distribution specification that containerd uses
(https://github.com/opencontainers/distribution-spec, "pull"); the `ns` parameter names the registry that an image belongs to. Of
registries that ask who is there, it serves images only to their one user (RFC 7617), who comes with a pod's imagePullSecret.
"""

from __future__ import annotations

import base64
import hmac
import http.server
import json
import logging
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

from koalesce.errors import KoalesceError
from koalesce.toolchain import ImageStore

_log = logging.getLogger(__name__)
_PATH = re.compile(r"/v2/(?P<name>[a-z0-9._/-]+)/(?P<kind>manifests|blobs)/(?P<reference>[\w.:+-]{1,256})")


class Mirror:
    """Serves an image store; `fetch` is asked once for each image that isn't in it, and raises where it can't be had.

    `users` are name and password of the user of each registry that asks for one. `served` is told each image that is asked for by a
    tag, and its digest, which is empty where it can't be had.
    """

    def __init__(
        self,
        store: ImageStore,
        address: tuple[str, int],
        *,
        fetch: Callable[[str], object] | None,
        users: Mapping[str, tuple[str, str]] = MappingProxyType({}),
        served: Callable[[str, str], None] = lambda _reference, _digest: None,
    ) -> None:
        self._store = store
        self._served = served
        self._keys = {name: base64.b64encode(":".join(user).encode()).decode() for name, user in users.items()}
        self._fetch = fetch
        self._missing: dict[str, threading.Lock] = {}
        self._refused: set[str] = set()
        self._guard = threading.Lock()
        self._server = _Server(address, _Handler, self)

    @property
    def port(self) -> int:
        """The port that it serves on."""
        return self._server.server_port

    def start(self) -> None:
        """Serve from a thread of its own."""
        threading.Thread(target=self._server.serve_forever, name="mirror", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def manifest(self, reference: str) -> tuple[str, bytes, str] | None:
        """Media type, bytes and digest of an image's manifest; an image that isn't there is fetched, but only tried once."""
        if (found := self._store.manifest(reference)) or self._fetch is None:
            return found
        with self._guard:
            lock = self._missing.setdefault(reference, threading.Lock())
        with lock:
            if found := self._store.manifest(reference):
                return found
            if reference in self._refused:
                return None
            try:
                self._fetch(reference)
            except (KoalesceError, OSError) as error:
                _log.warning("%s", error)
                self._refused.add(reference)
                return None
        return self._store.manifest(reference)

    def tagged(self, reference: str) -> tuple[str, bytes, str] | None:
        """The same by a tag, which is told: another time it may point to something else."""
        found = self.manifest(reference)
        self._served(reference, found[2] if found else "")
        return found

    def lets_in(self, registry: str, authorization: str) -> bool:
        """Whether who sends this header (`Basic …`) may have images of a registry."""
        kind, _, key = authorization.partition(" ")
        wanted = self._keys.get(registry)
        return wanted is None or (
            kind.lower() == "basic" and hmac.compare_digest(key.strip().encode(), wanted.encode())
        )

    @property
    def store(self) -> ImageStore:
        """What is served."""
        return self._store


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[_Handler], mirror: Mirror) -> None:
        self.mirror = mirror
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer would look up its own name, which waits for a resolver
        self.server_port = self.socket.getsockname()[1]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Requests go to the supervisor's log."""
        _log.info(format, *args)

    def _answer(self, *, body: bool) -> None:
        url = urlsplit(self.path)
        registry = parse_qs(url.query).get("ns", ["docker.io"])[0]
        if url.path in ("/v2", "/v2/"):
            self._send(b"{}", "application/json", body=body)
        elif not (match := _PATH.fullmatch(url.path)):
            self._missing("UNSUPPORTED", "only /v2/NAME/manifests|blobs/REFERENCE is served", body=body)
        elif not self.server.mirror.lets_in(registry, self.headers.get("Authorization", "")):
            self._refuse(registry, body=body)
        elif match["kind"] == "blobs":
            self._blob(match["reference"], body=body)
        else:
            self._manifest(f"{registry}/{match['name']}", match["reference"], body=body)

    def _manifest(self, name: str, reference: str, *, body: bool) -> None:
        separator = "@" if reference.startswith("sha256:") else ":"
        mirror = self.server.mirror
        # A manifest below an index is asked for by its digest, under which the store has it without a name.
        if separator == "@":
            found = mirror.store.manifest(reference) or mirror.manifest(f"{name}@{reference}")
        else:
            found = mirror.tagged(f"{name}:{reference}")
        if found is None:
            self._missing("MANIFEST_UNKNOWN", f"{name}{separator}{reference} is not in the image store", body=body)
        else:
            kind, content, digest = found
            self._send(content, kind, digest=digest, body=body)

    def _blob(self, digest: str, *, body: bool) -> None:
        path = self.server.mirror.store.blob(digest)
        if path is None:
            self._missing("BLOB_UNKNOWN", f"{digest} is not in the image store", body=body)
            return
        with path.open("rb") as file:
            size = path.stat().st_size
            self._head(HTTPStatus.OK, "application/octet-stream", size, digest)
            if body:
                self.wfile.flush()
                self.connection.sendfile(file)

    def _missing(self, code: str, message: str, *, body: bool) -> None:
        self._send(_error(code, message), "application/json", status=HTTPStatus.NOT_FOUND, body=body)

    def _refuse(self, registry: str, *, body: bool) -> None:
        content = _error("UNAUTHORIZED", f"{registry} asks for the user that the spec's registries name")
        challenge = {"WWW-Authenticate": f'Basic realm="{registry}"'}
        self._send(content, "application/json", status=HTTPStatus.UNAUTHORIZED, body=body, more=challenge)

    def _send(
        self,
        content: bytes,
        kind: str,
        *,
        digest: str = "",
        status: HTTPStatus = HTTPStatus.OK,
        body: bool,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._head(status, kind, len(content), digest, more)
        if body:
            self.wfile.write(content)

    def _head(
        self, status: HTTPStatus, kind: str, size: int, digest: str, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()


def _error(code: str, message: str) -> bytes:
    """An error as registries tell one."""
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()

"""Serves fakes of HTTP APIs on loopback, with what networks and busy servers do to requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


class Refused(Exception):
    """What the API refuses a request with."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message, "details": None}}


@dataclass(frozen=True)
class Fault:
    """What becomes of a request: `status` is answered instead of doing it; `loses` its answer, after it was done (True) or before (False)."""

    status: int = 0
    loses: bool | None = None


class Api(Protocol):
    """A fake: `answer` is called by several threads at once; `fault` chooses what goes wrong with a request, by its method and path."""

    token: str
    prefix: str
    requests: list[tuple[str, str]]
    fault: Callable[[str, str], Fault | None]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Json]:
        """Status and body of a request; Refused is answered, too."""


class _Handler(BaseHTTPRequestHandler):
    api: ClassVar[Api]
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        url = urlsplit(self.path)
        path = url.path.removeprefix(self.api.prefix)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        self.api.requests.append((self.command, path))
        fault = self.api.fault(self.command, path) or Fault()
        if fault.loses is False:
            return self._hang_up()
        if fault.status:
            code = {429: "rate_limit_exceeded", 503: "unavailable"}.get(fault.status, "service_error")
            return self._say(fault.status, {"error": {"code": code, "message": f"made to fail with {fault.status}"}})
        try:
            if self.headers.get("Authorization") != f"Bearer {self.api.token}":
                raise Refused(401, "unauthorized", "unable to authenticate")
            status, answer = self.api.answer(self.command, path, parse_qs(url.query), body)
        except Refused as refused:
            status, answer = refused.status, refused.body
        return self._hang_up() if fault.loses else self._say(status, answer)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  # names that http.server asks for

    def _say(self, status: int, value: Json) -> None:
        data = b"" if status == 204 else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that are killed leave connections behind."""


@contextmanager
def serving(api: Api) -> Iterator[str]:
    """Serve it on a free port of loopback; its URL."""
    with serving_by(type("Handler", (_Handler,), {"api": api})) as url:
        yield f"{url}{api.prefix}"


@contextmanager
def serving_by(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Have a handler answer on a free port of loopback; its URL."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""HTTP to one API server: credentials by the `kubernetes` package, one TLS context, one pool of connections.

Importing this module loads `kubernetes` and urllib3, which takes a quarter of a second: `Kube` does so at its first call.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client import Configuration
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from koalesce.kube import errors
from koalesce.kube.credentials import read_credentials
from koalesce.kube.errors import ApiError
from koalesce.kube.guard import Call, Guard
from koalesce.kube.no_answer import no_answer
from koalesce.kube.pool import current, make_pool, proxy_of
from koalesce.process import Cancel

Query = Mapping[str, Any]
_CONNECT_TIMEOUT = 10.0
_TRUSTED = 10.0  # seconds between two questions for the token; plugins replace it minutes before it expires
# What urllib3 raises; ValueError and AttributeError: a socket was shut down under http.client's hands.
_BROKEN = (HTTPError, OSError, ValueError, AttributeError)


class Answer:
    """What came back: status, whole body, headers by their lower-case names, and how many seconds it took."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, Sequence[str]]) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.seconds = 0.0

    @property
    def date(self) -> str:
        """When it came, by the server's clock (the header `Date`); empty without one."""
        return next(iter(self.headers.get("date", ())), "")


class Stream:
    """A long answer that is read line by line."""

    def __init__(self, response: BaseHTTPResponse, call: Call, name: str) -> None:
        self._response = response
        self._call = call
        self._name = name

    def lines(self) -> Iterator[bytes]:
        """The lines as they come, until the server closes; ApiError where the connection breaks or stays silent too long."""
        rest = b""
        try:
            for chunk in self._response.stream(65536, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
        except _BROKEN as error:
            raise no_answer(error, self._call, self._name) from error

    def close(self) -> None:
        """Give the connection up."""
        self._response.close()


class Transport:
    """Calls to one API server; safe for many threads at once."""

    def __init__(self, kubeconfig: Path, context: str | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._guard = Guard()
        self._lock = threading.Lock()
        self._load()

    def _load(self) -> None:
        self.configuration, self.tls = read_credentials(self._kubeconfig, self._context)
        self.server = self.configuration.host.rstrip("/")
        self._pool = make_pool(self.configuration, self.tls)
        self._headers: dict[str, str] = {}
        self._headers_until = 0.0

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        cancel: Cancel | None = None,
        any_status: bool = False,
    ) -> Answer:
        """One call, its whole answer read; ApiError for any status from 400 on (but with `any_status`) and where no answer came.

        A 401 is tried once more with credentials read anew; a GET that found its kept-alive connection cut, on a new one.
        """
        name = f"{method} {path}"
        began = time.monotonic()
        call = Call(began + timeout, cancel)
        with self._guard.watch(call):
            for last in (False, True):
                seen = self.configuration
                try:
                    response = self._open(method, path, query, body, headers, timeout, call)
                    answer = _read(response, call, name)
                except ApiError as error:
                    if last or method != "GET" or error.reason != errors.RESET:
                        raise
                    continue
                if answer.status == 401 and not last:
                    self._renew(seen)
                    continue
                break
        answer.seconds = time.monotonic() - began
        if answer.status >= 400 and not any_status:
            raise ApiError.from_answer(answer.status, answer.body, name)
        return answer

    def stream(
        self,
        path: str,
        *,
        query: Query | None = None,
        accept: str = "application/json",
        silence: float,
        call: Call | None = None,
    ) -> Stream:
        """Open an answer that goes on; ApiError once nothing has come for `silence` seconds. `call` ends it from another thread."""
        name, call = f"GET {path}", call or Call()
        for last in (False, True):
            seen = self.configuration
            response = self._open("GET", path, query, None, {"Accept": accept}, min(silence, _CONNECT_TIMEOUT), call)
            if response.status < 400:
                break
            with contextlib.closing(response):
                answer = _read(response, call, name)
            if answer.status != 401 or last:
                raise ApiError.from_answer(answer.status, answer.body, name)
            self._renew(seen)
        call.allow(silence)
        return Stream(response, call, name)

    @property
    def proxy(self) -> str | None:
        """The proxy on the way, if any."""
        return proxy_of(self.configuration)

    def headers(self) -> dict[str, str]:
        """What authenticates a call. A token that is about to expire is replaced here: one thread does it for all."""
        with self._lock:
            now = time.monotonic()
            if now >= self._headers_until:
                token = self.configuration.auth_settings().get("BearerToken")
                self._headers = {"Authorization": token["value"]} if token and token["value"] else {}
                self._headers_until = now + _TRUSTED
            return self._headers

    def guard(self, timeout: float, cancel: Cancel | None) -> contextlib.AbstractContextManager[Call]:
        """Look after a call that is made elsewhere (a websocket's)."""
        return self._guard.watch(Call(time.monotonic() + timeout, cancel))

    def url(self, path: str, query: Query | None = None) -> str:
        """The whole address of a path."""
        encoded = _encode(query)
        return f"{self.server}{path}" + (f"?{encoded}" if encoded else "")

    def close(self) -> None:
        """End calls under way and drop all connections."""
        self._guard.close()
        self._pool.clear()

    def _open(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        timeout: float,
        call: Call,
    ) -> BaseHTTPResponse:
        limits = urllib3.Timeout(connect=min(timeout, _CONNECT_TIMEOUT), read=timeout)
        current.call = call
        try:
            return self._pool.request(
                method,
                self.url(path, query),
                body=body,
                headers={"Accept": "application/json", **self.headers(), **(headers or {})},
                timeout=limits,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except _BROKEN as error:
            raise no_answer(error, call, f"{method} {path}") from error
        finally:
            current.call = None

    def _renew(self, seen: Configuration) -> None:
        """Read the credentials anew, unless another thread has done so since they were `seen`."""
        with self._lock:
            if self.configuration is not seen:
                return
            old = self._pool
            self._load()
        old.clear()


def _read(response: BaseHTTPResponse, call: Call, name: str) -> Answer:
    """The whole answer; its connection is another call's afterwards."""
    try:
        body = response.read(decode_content=True)
    except _BROKEN as error:
        response.close()
        raise no_answer(error, call, name) from error
    call.attach(None)
    response.release_conn()
    headers = {name.lower(): response.headers.getlist(name) for name in response.headers}
    return Answer(response.status, body, headers)


def _encode(query: Query | None) -> str:
    values = {
        key: ("true" if value is True else value)
        for key, value in (query or {}).items()
        if value not in (None, "", False)
    }
    return urlencode(values, doseq=True)

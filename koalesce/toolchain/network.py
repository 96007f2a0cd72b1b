"""HTTP for downloads: time limits of seconds, proxies from the environment, and hosts out of reach asked only once."""

from __future__ import annotations

import http.client
import math
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from email.message import Message
from typing import Any, TypeVar

from koalesce.errors import Interrupted
from koalesce.process import Cancel

_T = TypeVar("_T")
_TIMEOUT = 8.0
_LOOK = 0.1  # seconds between looks at whether to stop


class Unreachable(Exception):
    """A server can't be reached, or the connection to it broke; the text says why."""


class Refused(Exception):
    """A server answered with something else than what it was asked for: status, reason, headers."""

    def __init__(self, status: int, reason: str, headers: Message) -> None:
        super().__init__(f"{status} {reason}".strip())
        self.status = status
        self.headers = headers


class Network:
    """Opens URLs. A host that couldn't be reached is not tried again by the same object: closed networks fail at once."""

    def __init__(self, *, timeout: float = _TIMEOUT) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._unreachable: dict[str, str] = {}

    def open(
        self, url: str, headers: Mapping[str, str], *, authorization: str | None = None, cancel: Cancel | None = None
    ) -> http.client.HTTPResponse:
        """Open a URL; raises Refused for an answer other than 2xx, Unreachable where there is none, Interrupted if cancelled.

        `authorization` isn't passed on to where the server redirects.
        """
        if cancel is not None and cancel.is_set():
            raise Interrupted
        host = urllib.parse.urlsplit(url).netloc
        with self._lock:
            if why := self._unreachable.get(host):
                raise Unreachable(why)
        request = urllib.request.Request(url, headers={"User-Agent": "koalesce", **headers})  # noqa: S310 - callers build http(s) URLs
        if authorization:
            request.add_unredirected_header("Authorization", authorization)
        try:
            self._resolve(url, cancel)
            opener = urllib.request.build_opener(_Redirects)
            answer: http.client.HTTPResponse = _await(lambda: opener.open(request, timeout=self._timeout), cancel)
        except urllib.error.HTTPError as error:
            with error:  # holds the connection
                raise Refused(error.code, str(error.reason), error.headers) from None
        except (OSError, http.client.HTTPException) as error:
            why = f"{host} can't be reached ({self._reason(error)})"
            with self._lock:
                self._unreachable[host] = why
            raise Unreachable(why) from error
        return answer

    def read(self, answer: http.client.HTTPResponse, amount: int, *, cancel: Cancel | None = None) -> bytes:
        """Read up to `amount` bytes of an answer, empty at its end; raises Unreachable where the connection breaks."""
        if cancel is not None and cancel.is_set():
            raise Interrupted
        try:
            return answer.read(amount)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the connection broke ({self._reason(error)})") from error

    def _resolve(self, url: str, cancel: Cancel | None) -> None:
        """Bound the time of name resolution, which has no time limit of its own; behind a proxy it isn't ours to do."""
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        if urllib.request.getproxies().get(parts.scheme) and not urllib.request.proxy_bypass(host):
            return
        port = parts.port or parts.scheme
        _await(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), cancel, seconds=self._timeout)

    def _reason(self, error: Exception) -> str:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            return f"no answer within {self._timeout:.0f}s"
        if isinstance(cause, socket.gaierror):
            return "its name can't be resolved"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason}"
        return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _await(call: Callable[[], _T], cancel: Cancel | None, *, seconds: float = math.inf) -> _T:
    """What a call returns that can't be interrupted; Interrupted or TimeoutError leave it behind, in a thread of its own."""
    future: Future[_T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)  # raised again below

    threading.Thread(target=work, name="network", daemon=True).start()
    deadline = time.monotonic() + seconds
    while not wait([future], timeout=_LOOK).done:
        if cancel is not None and cancel.is_set():
            raise Interrupted
        if time.monotonic() > deadline:
            raise TimeoutError
    return future.result()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects (to object storage), never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.HTTPError(newurl, code, "redirected to an unprotected address", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

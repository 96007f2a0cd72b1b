"""The few requests that starting a cluster makes of its API server, on a plain HTTPS connection from the cluster's namespace."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from koalesce.errors import ClusterError
from koalesce.local.request import API_PORT
from koalesce.pki import Pki

WAITED = "waited"  # what errors begin with that time alone may mend
_PATIENCE = 5.0
_PAUSE = 0.04
# What a Service is refused with that a starting API server has no address for yet (k8s.io/kubernetes/pkg/registry/core/service/storage/alloc.go):
# it knows no range, is not ready to give any, is just making the same Service, or ended when it had made half of it, and frees the address later.
_NO_ADDRESS = b"failed to allocate IP"


class Api:
    """A client of the API server as its administrator; one connection, for one thread."""

    def __init__(self, pki: Pki, address: str, *, patience: float = _PATIENCE) -> None:
        self._address = address
        self._patience = patience
        self._context = _context(pki)
        self._connection: http.client.HTTPSConnection | None = None

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body of one request; status 0 if there is no connection."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(
                    self._address, API_PORT, context=self._context, timeout=self._patience
                )
            data = None if body is None else json.dumps(body)
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            self._connection.request(method, path, data, {"Content-Type": kind})
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return 0, str(error).encode()

    def get(self, path: str) -> Mapping[str, Any]:
        """The JSON value of a GET; ClusterError if it isn't answered with 200."""
        status, body = self.request("GET", path)
        if status != 200:
            raise ClusterError(f"GET {path}: {_text(status, body)}")
        found: Mapping[str, Any] = json.loads(body)
        return found

    def create(self, path: str, value: Mapping[str, Any], *, keep_trying: Callable[[], None]) -> Mapping[str, Any]:
        """Create an object; where it exists all is well. `keep_trying` waits a little, and raises when it is time to give up.

        Returns the object as it is now.
        """
        while True:
            status, body = self.request("POST", path, value)
            if status in (200, 201, 202):
                made: Mapping[str, Any] = json.loads(body)
                return made
            if status == 409:
                return self.get(f"{path}/{value['metadata']['name']}")
            if 400 <= status < 500 and status not in (403, 404, 429) and _NO_ADDRESS not in body:
                raise ClusterError(f"POST {path}: {_text(status, body)}")
            try:
                keep_trying()
            except ClusterError as error:
                raise ClusterError(f"{error.message}\nthe last answer to POST {path}: {_text(status, body)}") from error

    def close(self) -> None:
        """Close the connection; a further request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Deadline:
    """Until when to wait, and what to look at in between (`check` raises when waiting is of no use any more)."""

    def __init__(self, seconds: float, check: Callable[[], None]) -> None:
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self._check = check

    @property
    def left(self) -> float:
        """Seconds until it's over; none or fewer once it is."""
        return self._end - time.monotonic()

    def until(self, what: str, condition: Callable[[], bool], *, why: Callable[[], str] = str) -> None:
        """Wait until the condition holds; ClusterError names what was waited for, and shows what `why` tells then."""
        while not condition():
            self.pause(what, why=why)

    def pause(self, what: str, *, why: Callable[[], str] = str) -> None:
        """Let a little time pass; ClusterError once the deadline is over."""
        self._check()
        if time.monotonic() > self._end:
            raise ClusterError(f"{WAITED} {self._seconds:.0f} s in vain for {what}\n{why()}".rstrip())
        time.sleep(_PAUSE)


def _context(pki: Pki) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=pki.text("ca.crt"))
    context.load_cert_chain(pki.folder / "admin.crt", pki.folder / "admin.key")
    return context


def _text(status: int, body: bytes) -> str:
    if not status:
        return f"no connection ({body.decode('utf-8', 'replace')})"
    try:
        return f"{status} {json.loads(body).get('message', '')}"
    except (ValueError, AttributeError):
        return f"{status} {body[:500].decode('utf-8', 'replace')}"

"""Requests over HTTPS to a cloud: tried again while it is busy or doesn't answer, as long as that may help."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from koalesce.clock import hint_of_time
from koalesce.providers.cloud_api import CloudError

_TIMEOUT = urllib3.Timeout(connect=10.0, read=30.0)
_LONGEST_PAUSE = 8.0
_AT_ONCE = 8  # connections that are kept
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class Http:
    """A server at `url`; `title` is its cloud's. A request is tried for `patience` seconds."""

    def __init__(
        self,
        url: str,
        *,
        title: str,
        patience: float = 60.0,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self._title = title
        self._patience = patience
        self._pause = pause
        self._clock = clock
        self._pool = _pool(url)

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        body: bytes = b"",
        what: str = "",
        said: Callable[[bytes], str] = lambda data: "",
    ) -> tuple[int, bytes]:
        """Status and body of an answer that is no passing trouble; CloudError where there was only such.

        `what` is the request for people, `said` finds in a body what went wrong.
        """
        deadline, wait = self._clock() + self._patience, 0.25
        while True:
            try:
                answer = self._pool.request(
                    method,
                    f"{self.url}{path}",
                    body=body or None,
                    headers={"User-Agent": "koalesce", **headers},
                    timeout=_TIMEOUT,
                    retries=False,
                )
                if answer.status not in _AGAIN:
                    return answer.status, answer.data
                trouble = f"{answer.status} {said(answer.data)}".strip()
            except urllib3.exceptions.HTTPError as error:
                trouble = str(error)
                if hint := hint_of_time(trouble):  # which no patience helps against
                    raise CloudError(f"{self._title} can't be trusted: {trouble}", hint=hint) from error
            if self._clock() + wait > deadline:
                raise CloudError(f"{self._title} doesn't answer to {what or f'{method} {path}'}: {trouble}")
            self._pause(wait)
            wait = min(2 * wait, _LONGEST_PAUSE)


class Rest:
    """An API of JSON at `url`, with the same `headers` for all requests; `patience` and the like are those of `Http`."""

    def __init__(self, url: str, headers: Mapping[str, str], *, title: str, **patience: Any) -> None:
        self._http = Http(url, title=title, **patience)
        self._headers = {"Accept": "application/json", **headers}

    def request(self, method: str, path: str, query: Mapping[str, Any] | None = None) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON value of an answer that is no passing trouble; CloudError where there was only such."""
        asked = f"?{urlencode(query)}" if query else ""
        status, data = self._http.send(
            method,
            f"{path}{asked}",
            self._headers,
            what=f"{method} {path}",
            said=lambda data: message(_json(data)),
        )
        return status, _json(data)


def message(value: Mapping[str, Any]) -> str:
    """What an API says went wrong."""
    if isinstance(several := value.get("errors"), list):  # as JSON:API has it
        return "; ".join(str(each.get("detail") or each.get("title") or "") for each in several)
    error = value.get("error")
    return str(error.get("message", "")) if isinstance(error, Mapping) else str(value.get("message", error or ""))


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data or b"{}")
    except ValueError:
        return {"message": data[:200].decode("utf-8", "replace")}
    return value if isinstance(value, dict) else {"items": value}


def _pool(url: str) -> urllib3.PoolManager:
    """Connections to a host, by the proxy of the environment if there is one for it, as Terraform's plugins have it."""
    where = urlsplit(url)
    proxy = urllib.request.getproxies().get(where.scheme)
    if proxy and not urllib.request.proxy_bypass(where.hostname or ""):
        return urllib3.ProxyManager(proxy, maxsize=_AT_ONCE)
    return urllib3.PoolManager(maxsize=_AT_ONCE)

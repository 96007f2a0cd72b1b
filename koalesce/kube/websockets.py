"""Websockets to the API server: the handshake, by our own socket, with the cluster's credentials and TLS."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from websocket import WebSocket, WebSocketBadStatusException, WebSocketException

from koalesce.kube.errors import ApiError
from koalesce.kube.no_answer import no_answer

if TYPE_CHECKING:
    from koalesce.kube.guard import Call
    from koalesce.kube.transport import Transport

_CONNECT_TIMEOUT = 10.0


def connect(
    transport: Transport,
    path: str,
    query: Mapping[str, Any],
    *,
    protocols: Sequence[str],
    call: Call,
    timeout: float,
    name: str,
) -> WebSocket:
    """Open the websocket of a subresource; the handshake is under guard as well. `name` is what errors call it."""
    url = transport.url(path, query).replace("http", "ws", 1)
    options: dict[str, Any] = {"context": transport.tls}
    if transport.configuration.tls_server_name:
        options["server_hostname"] = transport.configuration.tls_server_name
    connection = WebSocket(sslopt=options, skip_utf8_validation=True)
    try:
        connection.connect(  # type: ignore[no-untyped-call]  # the library has few types
            url,
            header=[f"{key}: {value}" for key, value in transport.headers().items()],
            subprotocols=list(protocols),
            suppress_origin=True,
            redirect_limit=0,
            timeout=timeout,
            **_way(transport, call, timeout),
        )
        connection.settimeout(None)
    except WebSocketBadStatusException as error:
        raise ApiError.from_answer(error.status_code, error.resp_body or b"", name) from error
    except (WebSocketException, OSError, ValueError) as error:
        raise no_answer(error, call, name) from error
    call.attach(connection.sock)
    return connection


def _way(transport: Transport, call: Call, timeout: float) -> dict[str, Any]:
    """How to get there: a socket of our own, that the guard can shut down from the start; or a proxy."""
    if (proxy := transport.proxy) is not None:
        parts = urlparse(proxy)
        auth = (parts.username, parts.password or "") if parts.username else None
        kind = "http" if parts.scheme.startswith("http") else parts.scheme
        return {
            "http_proxy_host": parts.hostname, "http_proxy_port": parts.port, "http_proxy_auth": auth,
            "proxy_type": kind, "http_no_proxy": [""],
        }  # fmt: skip
    parts = urlparse(transport.server)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    sock = socket.create_connection((host, parts.port or (443 if is_tls else 80)), min(timeout, _CONNECT_TIMEOUT))
    call.attach(sock)
    try:
        if is_tls:
            sock = transport.tls.wrap_socket(sock, server_hostname=transport.configuration.tls_server_name or host)
            call.attach(sock)
        sock.settimeout(timeout)
    except BaseException:
        sock.close()
        raise
    return {"socket": sock}

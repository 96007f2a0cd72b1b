"""Connections to one API server: kept alive, sharing one TLS context, and known to the call that uses them."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from typing import Any
from urllib.parse import urlparse

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import is_socks_proxy_url, should_bypass_proxies
from kubernetes.utils.keepalive import tcp_keepalive_socket_options
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from koalesce.kube.guard import Call

_SIZE = 64


class _Current(threading.local):
    """The call that this thread is making."""

    call: Call | None = None


current = _Current()


class _Attached:
    """A connection that tells the call under way which socket it uses."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # mixed into urllib3's connections
        self._attach()

    def request(self, *args: Any, **options: Any) -> None:
        self._attach()
        super().request(*args, **options)  # type: ignore[misc]  # as above

    def _attach(self) -> None:
        if current.call is not None:
            current.call.attach(self.sock)


class _PlainConnection(_Attached, HTTPConnection):
    pass


class _TLSConnection(_Attached, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        # Where the kubeconfig asks for no verification, urllib3 would warn on each request.
        self.is_verified = True


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def make_pool(configuration: Configuration, tls: ssl.SSLContext) -> urllib3.PoolManager:
    """The pool, by way of a proxy where the configuration says so."""
    options: dict[str, Any] = {
        "maxsize": _SIZE,
        "ssl_context": tls,
        "cert_reqs": "CERT_REQUIRED" if configuration.verify_ssl else "CERT_NONE",
        "socket_options": tcp_keepalive_socket_options(),
    }
    if configuration.tls_server_name:
        options["server_hostname"] = configuration.tls_server_name
    proxy = proxy_of(configuration)
    if proxy is None:
        pool = urllib3.PoolManager(**options)
    elif is_socks_proxy_url(proxy):  # type: ignore[no-untyped-call]  # as above
        from urllib3.contrib.socks import SOCKSProxyManager  # needs an extra of urllib3's that few have

        return SOCKSProxyManager(proxy, **options)
    else:
        pool = urllib3.ProxyManager(proxy, proxy_headers=configuration.proxy_headers, **options)
    pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}
    return pool


def proxy_of(configuration: Configuration) -> str | None:
    """The proxy on the way to the API server; None for none, and always for this machine's own addresses (as Go does)."""
    proxy: str | None = configuration.proxy
    if not proxy or _is_loopback(urlparse(configuration.host).hostname or ""):
        return None
    return None if should_bypass_proxies(configuration.host, configuration.no_proxy or "") else proxy


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

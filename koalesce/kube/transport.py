"""HTTP to one API server: credentials by the `kubernetes` package, one TLS context, one pool of connections.

Importing this module loads `kubernetes` and urllib3, which takes a quarter of a second: `Kube` does so at its first call.
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlparse

import urllib3
import yaml  # type: ignore[import-untyped]  # for its YAMLError only
from kubernetes.client import Configuration
from kubernetes.client.rest import is_socks_proxy_url, should_bypass_proxies
from kubernetes.config import ConfigException, load_kube_config
from kubernetes.utils.keepalive import tcp_keepalive_socket_options
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)
from urllib3.exceptions import SSLError as PoolSSLError
from urllib3.response import BaseHTTPResponse

from koalesce.errors import ClusterError
from koalesce.kube import errors
from koalesce.kube.errors import ApiError
from koalesce.kube.guard import Call, Guard
from koalesce.process import Cancel

Query = Mapping[str, Any]
_CONNECT_TIMEOUT = 10.0
_POOL_SIZE = 64
_TRUSTED = 10.0  # seconds between two questions for the token; plugins replace it minutes before it expires
_loading = threading.Lock()  # the kubernetes package keeps the files of its credentials in a global


class _Current(threading.local):
    call: Call | None = None


_current = _Current()


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
        if _current.call is not None:
            _current.call.attach(self.sock)


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


class Answer:
    """What came back: status and whole body."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


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
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # ValueError and AttributeError: the socket was shut down under http.client's hands.
            raise _no_answer(error, self._call, self._name) from error

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
        self.configuration, self.tls = _credentials(self._kubeconfig, self._context)
        self.server = self.configuration.host.rstrip("/")
        self._pool = _pool(self.configuration, self.tls)
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
    ) -> Answer:
        """One call, its whole answer read; ApiError for any status from 400 on and where no answer came.

        A 401 is tried once more with credentials read anew; a GET that found its kept-alive connection cut, on a new one.
        """
        name = f"{method} {path}"
        call = Call(time.monotonic() + timeout, cancel)
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
        if answer.status >= 400:
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
        return _proxy_of(self.configuration)

    def no_answer(self, error: BaseException, call: Call, name: str) -> ApiError:
        """The ApiError for a connection that couldn't be made, broke, stayed silent, or was ended by us."""
        return _no_answer(error, call, name)

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
        _current.call = call
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
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            raise _no_answer(error, call, f"{method} {path}") from error
        finally:
            _current.call = None

    def _renew(self, seen: Configuration) -> None:
        """Read the credentials anew, unless another thread has done so since they were `seen`."""
        with self._lock:
            if self.configuration is not seen:
                return
            old = self._pool
            self._load()
        old.clear()


def _no_answer(error: BaseException, call: Call, name: str) -> ApiError:
    if call.ended:
        what = "cancelled" if call.ended == errors.CANCELLED else "no answer in time"
        return ApiError(f"{name}: {what}", reason=call.ended)
    reason, what = _explain(error)
    return ApiError(f"{name}: {what}", reason=reason)


def _explain(error: BaseException) -> tuple[str, str]:
    chain = list(_chain(error))
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in chain):
        return errors.TLS, f"the API server's certificate is not trusted: {chain[-1]}"
    if any(isinstance(link, ConnectionRefusedError) for link in chain):
        return errors.REFUSED, "connection refused"
    if any(isinstance(link, NameResolutionError) for link in chain):
        return errors.UNRESOLVED, f"the API server's name can't be resolved: {chain[-1]}"
    if any(isinstance(link, (TimeoutError, ReadTimeoutError)) or type(link) is ConnectTimeoutError for link in chain):
        return errors.TIMEOUT, "no answer in time"
    if any(isinstance(link, (NewConnectionError, ProxyError)) for link in chain):
        return errors.UNREACHABLE, f"the API server can't be reached: {chain[-1]}"
    if any(isinstance(link, (PoolSSLError, ssl.SSLError)) for link in chain) and not _is_cut(chain):
        return errors.TLS, f"TLS failed: {chain[-1]}"
    return errors.RESET, f"the connection was cut: {chain[-1]}"


def _is_cut(chain: Sequence[BaseException]) -> bool:
    return any(isinstance(link, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)) for link in chain)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = (
            error.__cause__ or error.__context__ or next((a for a in error.args if isinstance(a, BaseException)), None)
        )


def _read(response: BaseHTTPResponse, call: Call, name: str) -> Answer:
    try:
        body = response.read(decode_content=True)
    except (HTTPError, OSError, ValueError, AttributeError) as error:
        response.close()
        raise _no_answer(error, call, name) from error
    response.release_conn()
    return Answer(response.status, body)


def _encode(query: Query | None) -> str:
    values = {
        key: ("true" if value is True else value)
        for key, value in (query or {}).items()
        if value not in (None, "", False)
    }
    return urlencode(values, doseq=True)


def _credentials(kubeconfig: Path, context: str | None) -> tuple[Configuration, ssl.SSLContext]:
    if not kubeconfig.is_file():
        raise ClusterError(f"there is no kubeconfig at {kubeconfig}")
    configuration = Configuration()
    # Inline keys are written to files, as OpenSSL reads nothing else; they live until the context has them.
    with _loading, tempfile.TemporaryDirectory(prefix="koalesce-") as folder:
        try:
            load_kube_config(  # type: ignore[no-untyped-call]  # the package's types end here
                str(kubeconfig),
                context,
                client_configuration=configuration,
                persist_config=False,
                temp_file_path=folder,
            )
            return configuration, _tls(configuration)
        except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
            raise ClusterError(f"the kubeconfig {kubeconfig} can't be used: {error}") from error


def _tls(configuration: Configuration) -> ssl.SSLContext:
    if configuration.verify_ssl and configuration.host.startswith("https"):
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
        # Go, and so kubectl, takes CAs without the extensions that this flag asks for (default from Python 3.13 on).
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reads no trust store, which takes 30 ms
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _pool(configuration: Configuration, tls: ssl.SSLContext) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "maxsize": _POOL_SIZE,
        "ssl_context": tls,
        "cert_reqs": "CERT_REQUIRED" if configuration.verify_ssl else "CERT_NONE",
        "socket_options": tcp_keepalive_socket_options(),
    }
    if configuration.tls_server_name:
        options["server_hostname"] = configuration.tls_server_name
    proxy = _proxy_of(configuration)
    if proxy is None:
        pool = urllib3.PoolManager(**options)
    elif is_socks_proxy_url(proxy):  # type: ignore[no-untyped-call]  # as above
        from urllib3.contrib.socks import SOCKSProxyManager  # needs an extra of urllib3's that few have

        return SOCKSProxyManager(proxy, **options)
    else:
        pool = urllib3.ProxyManager(proxy, proxy_headers=configuration.proxy_headers, **options)
    pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}
    return pool


def _proxy_of(configuration: Configuration) -> str | None:
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

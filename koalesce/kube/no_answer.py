"""Why no answer came, in one word and in a sentence."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence

from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)
from urllib3.exceptions import SSLError as PoolSSLError

from koalesce.kube import errors
from koalesce.kube.errors import ApiError
from koalesce.kube.guard import Call


def no_answer(error: BaseException, call: Call, name: str) -> ApiError:
    """The ApiError for a connection that couldn't be made, broke, stayed silent, or was ended by us. `name` is what was asked."""
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

"""What the toolchain's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.toolchain.web import Web, serving


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server on this machine, reached without a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as web:
        yield web


@pytest.fixture
def refused(web: Web) -> str:
    """An address where nobody listens."""
    with serving() as gone:
        pass
    return gone.address

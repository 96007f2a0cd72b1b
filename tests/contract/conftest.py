from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract.api_server import ApiServer, find_binaries


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server with etcd behind it, and no nodes; skipped, with the reason, where there are no binaries."""
    binaries = find_binaries()
    if isinstance(binaries, str):
        pytest.skip(binaries)
    server = ApiServer(binaries, tmp_path_factory.mktemp("api-server"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """A namespace of the test's own (nothing removes its contents: there is no controller manager)."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    api_server.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name

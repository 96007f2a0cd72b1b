from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.api_server import VERSION, ApiServer, find_binaries


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where a version of Kubernetes is asked for, the tests are those that speak with an API server: others say the same as ever."""
    if not VERSION:
        return
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    others = [item for item in here if "api_server" not in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def pytest_report_header() -> str:
    return f"Kubernetes: {VERSION or 'the newest'}"


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

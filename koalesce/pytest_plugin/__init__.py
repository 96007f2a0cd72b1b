"""The pytest plugin: specs as test items, and a cluster as a fixture.

It is loaded wherever pytest runs with Koalesce installed: nothing else of Koalesce is until there is a spec, or somebody wants a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from koalesce.library.client import ClusterClient
    from koalesce.pytest_plugin.collecting import SpecFile

_OWN = (".koalesce.yaml", ".koalesce.yml")
_YAML = (".yaml", ".yml")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and settings; none of them changes anything where there are no specs."""
    parser.getgroup("koalesce").addoption(
        "--koalesce-cluster",
        metavar="NAME",
        help="run specs, and tests that want a cluster, on this one, which `koalesce up` made and which stays",
    )
    parser.addini(
        "koalesce_specs",
        type="args",
        help="globs of files that are specs besides *.koalesce.yaml, relative to the rootdir (* matches across folders)",
    )
    parser.addini("koalesce_cluster", help="the spec whose cluster, images and components the fixture `cluster` has")
    parser.addini("koalesce_nodes", default="1", help="how many nodes the fixture `cluster` has where no spec says it")
    parser.addini("koalesce_kubernetes", help="the version of Kubernetes of the fixture `cluster`")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SpecFile | None:
    """A spec: one that is called so, that the settings name, or that the command line names."""
    if file_path.suffix not in _YAML or not _is_wanted(file_path, parent):
        return None
    from koalesce.pytest_plugin.collecting import SpecFile

    return SpecFile.from_parent(parent, path=file_path)


def _is_wanted(path: Path, parent: pytest.Collector) -> bool:
    if path.name.endswith(_OWN):
        return True
    if not (parent.session.isinitpath(path) or _is_configured(path, parent.config)):
        return False
    from koalesce.spec.discovery import is_spec

    return is_spec(path)


def _is_configured(path: Path, config: pytest.Config) -> bool:
    globs = config.getini("koalesce_specs")
    if not globs or path.name.startswith(("_", ".")) or not path.is_relative_to(config.rootpath):
        return False
    from fnmatch import fnmatchcase

    name = path.relative_to(config.rootpath).as_posix()
    return any(fnmatchcase(name, glob) for glob in globs)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterClient]:
    """A temporary local cluster for all tests of the session."""
    from koalesce.pytest_plugin.clusters import session_cluster

    with session_cluster(request.config) as client:
        yield client


@pytest.fixture
def namespace(cluster: ClusterClient, request: pytest.FixtureRequest) -> Iterator[ClusterClient]:
    """A namespace of the test's own in that cluster: the client of it."""
    with cluster.temporary_namespace(request.node.name) as client:
        yield client

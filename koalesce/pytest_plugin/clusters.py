"""The cluster of the fixture: one for the session, shared by the workers of pytest-xdist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import UsageError
from koalesce.library.client import ClusterClient
from koalesce.library.making import joined, make, temporary_cluster
from koalesce.providers.session import ClusterSession
from koalesce.providers.sweeping import find
from koalesce.pytest_plugin.runs import locked, shared_folder


@contextmanager
def session_cluster(config: pytest.Config) -> Iterator[ClusterClient]:
    """The cluster that the command line names, which stays; otherwise one that is made as the settings say, and destroyed at the end."""
    given = config.getoption("--koalesce-cluster")
    folder = shared_folder(config)
    if given:
        with joined(given) as client:
            yield client
    elif folder is None:
        with temporary_cluster(**wanted(config)) as client:
            yield client
    else:
        with _of_all_workers(config, folder) as client:
            yield client


def wanted(config: pytest.Config) -> dict[str, Any]:
    """What the settings say of it, as arguments of `temporary_cluster`; UsageError of pytest's for what can't be read."""
    spec, nodes = config.getini("koalesce_cluster"), config.getini("koalesce_nodes")
    if not nodes.isdigit():
        raise pytest.UsageError(f"koalesce_nodes = {nodes}: it takes a whole number")
    path = config.rootpath / spec if spec else None
    if path is not None and not path.is_file():
        raise pytest.UsageError(f"koalesce_cluster = {spec}: there is no {path}")
    return {
        "spec": path,
        "nodes": int(nodes),
        "kubernetes": config.getini("koalesce_kubernetes") or None,
        "trust": True,
    }


@contextmanager
def _of_all_workers(config: pytest.Config, folder: Path) -> Iterator[ClusterClient]:
    """The first worker that wants it makes it, the last one that leaves it ends it."""
    name, lock = f"pytest-{folder.name[-8:]}", folder / "cluster.lock"
    with locked(lock):
        try:
            use = joined(name)
            client = use.__enter__()
        except UsageError:  # there is none yet, or no more
            make(name, **wanted(config))
            use = joined(name)
            client = use.__enter__()
    try:
        yield client
    finally:
        with locked(lock):
            use.__exit__(None, None, None)
            _end(name)


def _end(name: str) -> None:
    try:
        session = ClusterSession.of_entry(find(name))
    except UsageError:  # others use it still
        return
    session.down()

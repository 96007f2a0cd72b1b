"""`temporary_cluster`: a cluster to work with from a program, destroyed when it is done with."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from koalesce import engine
from koalesce.durations import Duration
from koalesce.engine import RunOptions
from koalesce.errors import Interrupted, ProvisionError, TeardownError, UsageError
from koalesce.library.client import ClusterClient
from koalesce.library.results import RunResult, folded
from koalesce.library.running import OnEvent, consume
from koalesce.providers.joining import JoinedCluster
from koalesce.providers.naming import check_name
from koalesce.providers.session import ClusterSession
from koalesce.providers.sweeping import find
from koalesce.spec import discover

# A cluster whose user was killed ends by itself after this time from its making (`ttl`); one that is in use doesn't.
_TTL = Duration(3600)
_SPEC = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {{name: python}}\ncluster: {{nodes: {nodes}}}\ntests: []\n"


@contextlib.contextmanager
def temporary_cluster(
    spec: str | os.PathLike[str] | None = None,
    *,
    nodes: int = 1,
    kubernetes: str | None = None,
    name: str | None = None,
    trust: bool = False,
    on_event: OnEvent = lambda event: None,
) -> Iterator[ClusterClient]:
    """The cluster of a spec, with its images and components, or one of so many nodes; it is destroyed at the end of the block.

    Where the process is killed, the cluster ends by itself an hour after it was made. `run_spec(…, cluster=client.name)` runs specs on it.
    UsageError for what can't be made, ProvisionError where it isn't made (then nothing is left of it), TeardownError if it can't be removed.
    """
    called = name or f"python-{secrets.token_hex(3)[:5]}"
    make(called, spec, nodes=nodes, kubernetes=kubernetes, trust=trust, on_event=on_event)
    try:
        with joined(called) as client:
            yield client
    finally:
        ClusterSession.of_entry(find(called)).down()


def make(
    name: str,
    spec: str | os.PathLike[str] | None,
    *,
    nodes: int = 1,
    kubernetes: str | None = None,
    trust: bool = False,
    on_event: OnEvent = lambda event: None,
) -> None:
    """Make a cluster of this name, and keep it; errors as for `temporary_cluster`."""
    check_name(name)
    with _file(spec, nodes) as path:
        options = RunOptions(paths=(str(path),), kubernetes=kubernetes, ttl=_TTL, trust=trust or spec is None)
        result = folded(consume(partial(engine.up, name=name), options, on_event))
    if result.status != "passed":
        raise _told(name, result)


@contextlib.contextmanager
def joined(name: str) -> Iterator[ClusterClient]:
    """A cluster that is up, which stays; nobody removes it meanwhile. UsageError where it isn't one to use."""
    session = JoinedCluster(name)
    try:
        cluster = session.up()
        try:
            yield ClusterClient(cluster)
        finally:
            cluster.kube.close()
    finally:
        session.leave()


@contextlib.contextmanager
def _file(spec: str | os.PathLike[str] | None, nodes: int) -> Iterator[Path]:
    if spec is not None:
        found = discover([os.fspath(spec)])
        if len(found) != 1:
            raise UsageError(f"{os.fspath(spec)} has {len(found)} specs; a cluster is made of one")
        yield found[0]
        return
    with tempfile.TemporaryDirectory(prefix="koalesce-") as folder:
        path = Path(folder) / "cluster.yaml"
        path.write_text(_SPEC.format(nodes=nodes), encoding="utf-8")
        yield path


def _told(name: str, result: RunResult) -> ProvisionError | TeardownError | Interrupted:
    message = "\n".join(spec.message for spec in result.specs if spec.message) or f"cluster {name} could not be made"
    if result.teardown_failed:
        return TeardownError(message, command=f"koalesce down {name}")
    return Interrupted() if result.interrupted else ProvisionError(message)

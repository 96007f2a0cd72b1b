"""What a cluster is, whoever made it."""

from __future__ import annotations

import pytest

from koalesce.cluster import Node
from koalesce.engine.node_evidence import node_jobs
from koalesce.errors import ClusterError

UNREACHED = Node(name="worker-1", address="10.0.0.1", exec=(), role="worker")


def test_what_is_meant_for_a_node_never_runs_here() -> None:
    with pytest.raises(ClusterError, match="the cluster gives no way to run commands on worker-1"):
        UNREACHED.run(["true"])


def test_a_node_that_takes_no_commands_gives_no_evidence() -> None:
    assert node_jobs(UNREACHED) == {}

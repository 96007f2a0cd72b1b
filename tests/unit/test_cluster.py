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


def node_that_says(text: str, path: str = "/run/w1/process/ns/mnt") -> Node:
    """A node whose prefix, as nsenter does, is told where its namespaces are, and that fails with this text."""
    script = f"echo '{text}' >&2; exit 1"
    return Node(name="worker-1", address="10.0.0.1", role="worker", exec=("sh", "-c", script, f"--mount={path}"))


def test_that_a_node_is_off_is_no_verdict_of_a_command() -> None:
    off = node_that_says("nsenter: cannot open /run/w1/process/ns/mnt: No such file or directory")

    with pytest.raises(ClusterError, match="worker-1 is off, or has ended: nothing can be run on it"):
        off.run(["true"])


@pytest.mark.parametrize("text", ["no such file", "nsenter: cannot open /proc/7/ns/mnt: No such file or directory"])
def test_what_a_command_says_on_a_node_is_its_own(text: str) -> None:
    assert node_that_says(text).run(["true"]).code == 1

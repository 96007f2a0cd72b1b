"""What is said of a probe that somebody ended while it was asked to go on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from koalesce.cluster import Node
from koalesce.errors import ClusterError
from koalesce.process import Result
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.flows import Flow
from koalesce.steps.wire.probing import Target
from koalesce.steps.wire.streaming import Stream
from tests.fakes import FakeCluster, context, result


class Dying:
    """A node on which the probe is killed at once; whether it's there afterwards is `is_there`."""

    name = "worker-1"
    exec = ("sh",)

    def __init__(self, *, is_there: bool) -> None:
        self._is_there = is_there

    def run(self, command: Sequence[str], **_options: Any) -> Result:
        if command != ["true"]:
            return result(command, code=-9)
        if not self._is_there:
            raise ClusterError("worker-1 is off, or has ended: nothing can be run on it")
        return result(command)


@pytest.mark.parametrize(
    ("is_there", "said"),
    [
        (False, "killed by signal 9 (worker-1 is off, or has ended: nothing can be run on it)"),
        (True, "killed by signal 9, as when its machine is switched off or has no memory left"),
    ],
)
def test_a_probe_that_was_killed_names_what_has_become_of_its_node(is_there: bool, said: str) -> None:
    node = cast("Node", Dying(is_there=is_there))
    flow = Flow(
        name="f", source=Source(kind="node", name="worker-1", node=node), target=Target(type="tcp", host="h", port=1),
        look=str,
    )  # fmt: skip

    stream = Stream({0: flow}, 0.1, context(FakeCluster()), lambda _sighting: None)
    problem = stream.await_first(threading.Event())
    stream.tell()
    stream.end()

    assert problem == f"worker-1: the probe ended by itself: {said}"

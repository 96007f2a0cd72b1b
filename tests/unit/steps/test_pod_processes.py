"""Which process of a container a command of ours has become, and how it is ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from koalesce.errors import ClusterError
from koalesce.kube import ExecResult
from koalesce.steps.base import Errored
from koalesce.steps.inside.places import Source
from koalesce.steps.inside.pod_processes import Process, end_in_pod, processes, started_by_us
from tests.fakes import FakeCluster, FakeNode, api_error, context, result, running_pod


def listing(*found: tuple[int, int, float, str], uptime: float = 1000.0) -> str:
    """What the script prints of processes: number, parent, age, words."""
    text = f"{uptime} 2000.0\n"
    for pid, parent, age, words in found:
        ticks = int((uptime - age) * 100)
        stat = f"{pid} (a (b) c) S {parent} {' '.join('0' for _ in range(17))} {ticks} 0 0"
        text += f"@@process {pid}\n{stat}\n" + "".join(f"{word}\0" for word in words.split()) + "\n"
    return text


INIT = (1, 0, 90.0, "agnhost pause")


def test_what_the_script_prints_is_read() -> None:
    text = listing(INIT, (7, 0, 2.5, "sh -c sleep")) + "@@process 9\n\n"  # the last one ended meanwhile

    assert processes(text) == [
        Process(pid=1, parent=0, age=90.0, words="agnhost\npause"), Process(pid=7, parent=0, age=2.5, words="sh\n-c\nsleep"),
    ]  # fmt: skip
    with pytest.raises(ClusterError, match="its processes could not be listed"):
        processes("sh: not found")


@pytest.mark.parametrize(
    ("found", "pids"),
    [
        ([INIT, (7, 0, 5.0, "sleep 60")], [7]),
        ([INIT, (7, 0, 5.0, "sleep 60"), (8, 7, 4.0, "x"), (9, 8, 3.0, "y")], [7, 8, 9]),  # its descendants, too
        ([INIT, (7, 0, 5.0, "sleep 60"), (8, 0, 4.9, "probe")], [7]),  # by its words
        ([INIT, (7, 0, 5.2, "sleep 60"), (8, 0, 7.5, "sleep 60")], [7]),  # by its age
        ([INIT, (7, 0, 5.0, "busybox sleep")], [7]),  # it became another program
        ([INIT, (7, 0, 60.0, "sleep 60")], []),  # of somebody else
        ([INIT], []),  # it has ended
        ([(1, 0, 5.0, "sleep 60")], []),  # never the container's own
    ],
)
def test_which_of_them_is_ours(found: list[Any], pids: list[int]) -> None:
    ours = started_by_us(processes(listing(*found)), ["sleep", "60"], 5.0)

    assert [process.pid for process in ours] == pids


def test_where_several_could_be_it_none_is_ended() -> None:
    with pytest.raises(ClusterError, match="several processes of the container could be it"):
        started_by_us(processes(listing(INIT, (7, 0, 5.0, "a"), (8, 0, 5.0, "b"))), ["sleep", "60"], 5.0)


def source(node: Any = None) -> Source:
    return Source(kind="pod", name="p", node=node, namespace="ns", pod="p", container="c", container_id="abc123")


def test_it_is_ended_from_the_node() -> None:
    node = FakeNode("worker-1")
    cluster = FakeCluster(nodes=[node])
    ran: list[Sequence[str]] = []

    def answer(command: Sequence[str], _stdin: bytes | None) -> Any:
        ran.append(command)
        return result(command, out=listing(INIT, (7, 0, 5.0, "sleep 60")))

    node.answer = answer

    assert end_in_pod(source(node), ["sleep", "60"], time.monotonic() - 5.0, context(cluster)) is None
    assert ran[0][-1] == "abc123"
    assert "kill -TERM 7;" in ran[1][2]


def test_without_a_way_to_the_node_a_shell_in_the_container_ends_it() -> None:
    cluster = FakeCluster(running_pod("p"))
    ran: list[Sequence[str]] = []

    def answer(_pod: str, command: Sequence[str]) -> ExecResult:
        ran.append(command)
        out = listing(INIT, (7, 0, 5.0, "sleep 60"))
        return ExecResult(command=tuple(command), code=0, stdout=out.encode(), stderr=b"", seconds=0.1)

    cluster.kube.on_exec = answer

    assert end_in_pod(source(), ["sleep", "60"], time.monotonic() - 5.0, context(cluster)) is None
    assert "kill -TERM 7;" in ran[1][2]


def test_where_neither_can_be_had_that_is_said() -> None:
    cluster = FakeCluster(running_pod("p"))

    def answer(_pod: str, _command: Sequence[str]) -> ExecResult:
        raise api_error(500, 'exec: "sh": executable file not found')

    cluster.kube.on_exec = answer

    assert end_in_pod(source(), ["sleep", "60"], time.monotonic(), context(cluster)) == Errored(
        'p: the command may still run in the container: exec: "sh": executable file not found', final=True
    )

"""Ending a command that was started in a pod: to close its connection doesn't.

The API server and the kubelet know no way to end it (https://github.com/kubernetes/kubernetes/issues/26424), so that it's looked for among
the processes of its container: from the pod's node, where commands can be run on it, otherwise by a shell in the container. A command of a pod
is no child of any process in its container; among those it is the one that began when we did, with our words (unless it became another program).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Sequence

from koalesce.errors import ClusterError, KoalesceError
from koalesce.records import dataclass
from koalesce.steps.base import Errored, StepContext
from koalesce.steps.inside.places import Source

_TIMEOUT = 5.0
_GRACE = 2.0
_SLACK = 3.0  # seconds that clocks and slow starts may make between our start and the process'
_MARK = "@@process "

# Each process of the container: its number, its stat, its words with a NUL after each.
_EACH = 'echo "@@process $p"; cat "/proc/$p/stat" "/proc/$p/cmdline"; echo'
_ON_NODE = (
    'cat /proc/uptime; for d in $(grep -ls "$0" /proc/[0-9]*/cgroup); do p=${d#/proc/}; p=${p%/cgroup}; '
    + _EACH
    + "; done 2>/dev/null"
)
_IN_CONTAINER = "cat /proc/uptime; for d in /proc/[0-9]*; do p=${d#/proc/}; " + _EACH + "; done 2>/dev/null"

Shell = Callable[[str, Sequence[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of a container: its parent, its age in seconds, its words joined by line ends."""

    pid: int
    parent: int
    age: float
    words: str


def end_in_pod(source: Source, command: Sequence[str], began: float, context: StepContext) -> Errored | None:
    """End a command of a pod that began then (`time.monotonic`), and its children; an error where that can't be done."""
    try:
        shell, script = _shell(source, context)
        age = time.monotonic() - began
        found = started_by_us(processes(shell(script, [source.container_id])), command, age)
        if found:
            _end(shell, [process.pid for process in found])
    except KoalesceError as error:
        return Errored(f"{source.name}: the command may still run in the container: {error.message}", final=True)
    return None


def processes(text: str) -> list[Process]:
    """What the script printed."""
    head, *blocks = text.split(f"\n{_MARK}")
    if not re.match(r"[\d.]+ ", head):
        raise ClusterError("its processes could not be listed")
    uptime = float(head.split()[0])
    return [process for block in blocks if (process := _process(block, uptime)) is not None]


def _process(block: str, uptime: float) -> Process | None:
    number, _, rest = block.partition("\n")
    stat, _, words = rest.partition("\n")
    fields = stat.rpartition(")")[2].split()
    if not number.isdigit() or len(fields) < 20:  # it ended while we looked
        return None
    started = int(fields[19]) / 100  # ticks; 100 a second everywhere that Kubernetes runs
    return Process(
        pid=int(number), parent=int(fields[1]), age=uptime - started, words=words.replace("\0", "\n").rstrip("\n")
    )


def started_by_us(found: Sequence[Process], command: Sequence[str], age: float) -> list[Process]:
    """What a command has become that began `age` seconds ago, and all its descendants; none if it has ended by itself."""
    inside = {process.pid for process in found}
    roots = sorted((process for process in found if process.parent not in inside), key=lambda each: -each.age)
    near = [process for process in roots[1:] if abs(process.age - age) <= _SLACK]  # the oldest is the container's own
    same = [process for process in near if process.words == "\n".join(command).rstrip("\n")]
    if len(near) > 1 and not same:
        raise ClusterError("several processes of the container could be it")
    tree = [min(same or near, key=lambda process: abs(process.age - age))] if near else []
    for process in tree:
        tree += [child for child in found if child.parent == process.pid]
    return tree


def _shell(source: Source, context: StepContext) -> tuple[Shell, str]:
    """How to run a script where the processes of the container can be seen."""
    node = source.node
    if node is not None and node.exec and source.container_id:
        return lambda script, words: node.run(["sh", "-c", script, *words], timeout=_TIMEOUT).out, _ON_NODE
    return (
        lambda script, words: context.cluster.kube.exec(
            source.pod, ["sh", "-c", script, *words], namespace=source.namespace, container=source.container,
            timeout=_TIMEOUT,
        ).out,
        _IN_CONTAINER,
    )  # fmt: skip


def _end(shell: Shell, numbers: Sequence[int]) -> None:
    """SIGTERM, a grace, SIGKILL; it is over as soon as all of them are gone."""
    from koalesce.process import CommandTimeout

    words = " ".join(map(str, numbers))
    script = (
        f"kill -TERM {words}; for n in {' '.join(map(str, range(int(_GRACE / 0.1))))}; do alive=; "
        f"for p in {words}; do kill -0 $p && alive=1; done; [ $alive ] || exit 0; sleep 0.1; done; kill -KILL {words}"
    )
    with contextlib.suppress(CommandTimeout):
        shell(f"({script}) 2>/dev/null", [])

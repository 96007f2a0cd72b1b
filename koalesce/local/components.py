"""Faults of the components of a node: its init's services, stopped, killed and paused."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from koalesce.errors import ClusterError
from koalesce.local.node import RunningNode

_ASKED = 5.0  # seconds that a component has to end by itself
_KILLED = 5.0
_STARTING = 10.0
_SETTLING = 0.5  # what can't work ends sooner
_LOOK = 0.02


def check(node: RunningNode, component: str) -> None:
    """Raise ClusterError for a component that the node doesn't run."""
    known = node.services()
    if component not in known:
        raise ClusterError(f"{node.name} runs no {component}; it runs {', '.join(known) or 'nothing'}")


def stop(node: RunningNode, component: str) -> None:
    """End a component, by force where it doesn't end when asked to; it isn't started again until `start`."""
    node.hold(component)
    node.signal(component, signal.SIGTERM)
    if not _until(lambda: not node.services()[component], _ASKED):
        node.signal(component, signal.SIGKILL)
        if not _until(lambda: not node.services()[component], _KILLED):
            raise ClusterError(f"{component} on {node.name} doesn't end, not even when it is killed")


def start(node: RunningNode, component: str) -> None:
    """Start a component that was stopped, and see that it stays up."""
    node.release(component)
    _await_up(node, component, before=0)


def kill(node: RunningNode, component: str) -> None:
    """End a component at once, as a crash does, and see that the node's init has started it again."""
    before = node.services()[component]
    if not before:
        raise ClusterError(f"{component} on {node.name} doesn't run")
    node.signal(component, signal.SIGKILL)
    _await_up(node, component, before=before)


def pause(node: RunningNode, component: str) -> None:
    """Have a component not go on, and see that it doesn't."""
    if not node.services()[component]:
        raise ClusterError(f"{component} on {node.name} doesn't run")
    node.signal(component, signal.SIGSTOP)
    if not _until(lambda: _state(node, component) == "T", _KILLED):
        node.signal(component, signal.SIGCONT)
        raise ClusterError(f"{component} on {node.name} doesn't stop when it is told to")


def resume(node: RunningNode, component: str) -> None:
    """Have a paused component go on."""
    node.signal(component, signal.SIGCONT)
    if not _until(lambda: _state(node, component) != "T", _KILLED):
        raise ClusterError(f"{component} on {node.name} doesn't go on")


def _await_up(node: RunningNode, component: str, *, before: int) -> None:
    """Wait until a component runs as another process than before, and for a moment longer."""
    last = 0

    def is_up() -> bool:
        nonlocal last
        last = node.services()[component]
        return last not in (0, before)

    if _until(is_up, _STARTING):
        time.sleep(_SETTLING)
    if last in (0, before) or node.services()[component] != last:
        tail = "\n".join(f"  | {line}" for line in node.log_tail(component).splitlines())
        raise ClusterError(f"{component} on {node.name} doesn't stay up; it said last:\n{tail}")


def _state(node: RunningNode, component: str) -> str:
    """The state of a component's process, by its letter in proc_pid_stat(5); empty if there is none."""
    try:
        stat = Path(f"/proc/{node.pid}/root/proc/{node.services()[component]}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    return True

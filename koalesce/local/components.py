"""Faults of the components of a node, stopped, killed and paused: services of its init, and static pods of its kubelet."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from koalesce.errors import ClusterError
from koalesce.local import static_pods
from koalesce.local.node import RunningNode
from koalesce.local.static_pods import StaticPod

_ASKED = 5.0  # seconds that a component has to end by itself
_KILLED = 5.0
_NOTICED = 60.0  # seconds in which a kubelet has seen that a manifest is gone; until then it starts again what ends
_UNNOTICED = 2.0  # the same where that can't be seen
_ENDINGS = 5
_STARTING = 10.0
_STARTING_PODS = 90.0  # kubelets wait before they start again what has ended often
_SETTLING = 0.5  # what can't work ends sooner
_LOOK = 0.02


class _Component(Protocol):
    """Something of a node that is one process."""

    def pid(self) -> int:
        """Its process in the node's pid namespace, 0 while it doesn't run."""

    def hold(self) -> None:
        """Have it not started again once it has ended."""

    def release(self) -> None:
        """Have it started, and again whenever it ends."""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""


class _Service:
    """A service of the node's init."""

    def __init__(self, node: RunningNode, name: str) -> None:
        self._node, self._name = node, name

    def pid(self) -> int:
        return self._node.services()[self._name]

    def hold(self) -> None:
        self._node.hold(self._name)

    def release(self) -> None:
        self._node.release(self._name)

    def signal(self, number: signal.Signals) -> None:
        self._node.signal(self._name, number)


def check(node: RunningNode, component: str) -> None:
    """Raise ClusterError for a component that the node doesn't run."""
    _found(node, component)


def stop(node: RunningNode, component: str) -> None:
    """End a component, by force where it doesn't end when asked to; it isn't started again until `start`."""
    found = _found(node, component)
    if isinstance(found, StaticPod):
        _stop_pod(node, component, found)
    else:
        found.hold()
        _end(node, component, found)


def _stop_pod(node: RunningNode, component: str, pod: StaticPod) -> None:
    """End a static pod, and see that its kubelet, if it runs, knows that it isn't to start it again."""
    group = pod.group()
    patience = _NOTICED if group and node.services().get("kubelet") else _UNNOTICED
    pod.hold()
    for _ in range(_ENDINGS):
        _end(node, component, pod)
        if not _until(lambda: bool(pod.pid()) or (bool(group) and pod.is_over(group)), patience) or not pod.pid():
            return
    raise ClusterError(f"{component} on {node.name} is started again and again, though its manifest is withdrawn")


def _end(node: RunningNode, component: str, found: _Component) -> None:
    found.signal(signal.SIGTERM)
    if not _until(lambda: not found.pid(), _ASKED):
        found.signal(signal.SIGKILL)
        if not _until(lambda: not found.pid(), _KILLED):
            raise ClusterError(f"{component} on {node.name} doesn't end, not even when it is killed")


def start(node: RunningNode, component: str) -> None:
    """Start a component that was stopped, and see that it stays up."""
    _found(node, component).release()
    _await_up(node, component, before=0)


def kill(node: RunningNode, component: str) -> None:
    """End a component at once, as a crash does, and see that its node has started it again."""
    found = _found(node, component)
    before = found.pid()
    if not before:
        raise ClusterError(f"{component} on {node.name} doesn't run")
    found.signal(signal.SIGKILL)
    _await_up(node, component, before=before)


def pause(node: RunningNode, component: str) -> None:
    """Have a component not go on, and see that it doesn't."""
    found = _found(node, component)
    if not found.pid():
        raise ClusterError(f"{component} on {node.name} doesn't run")
    found.signal(signal.SIGSTOP)
    if not _until(lambda: _state(node, found) == "T", _KILLED):
        found.signal(signal.SIGCONT)
        raise ClusterError(f"{component} on {node.name} doesn't stop when it is told to")


def resume(node: RunningNode, component: str) -> None:
    """Have a paused component go on."""
    found = _found(node, component)
    found.signal(signal.SIGCONT)
    if not _until(lambda: _state(node, found) != "T", _KILLED):
        raise ClusterError(f"{component} on {node.name} doesn't go on")


def _found(node: RunningNode, component: str) -> _Component:
    """A component of a node; ClusterError if it doesn't run that."""
    services, pods = node.services(), static_pods.given(node)
    if component in services:
        return _Service(node, component)
    if component in pods:
        return StaticPod(node, component)
    raise ClusterError(f"{node.name} runs no {component}; it runs {', '.join([*services, *pods]) or 'nothing'}")


def _await_up(node: RunningNode, component: str, *, before: int) -> None:
    """Wait until a component runs as another process than before, and for a moment longer."""
    found, last = _found(node, component), 0

    def is_up() -> bool:
        nonlocal last
        last = found.pid()
        return last not in (0, before)

    if _until(is_up, _STARTING_PODS if isinstance(found, StaticPod) else _STARTING):
        time.sleep(_SETTLING)
    if last in (0, before) or found.pid() != last:
        tail = "\n".join(f"  | {line}" for line in node.log_tail(component).splitlines())
        raise ClusterError(f"{component} on {node.name} doesn't stay up; it said last:\n{tail}")


def _state(node: RunningNode, component: _Component) -> str:
    """The state of a component's process, by its letter in proc_pid_stat(5); empty if there is none."""
    try:
        stat = Path(f"/proc/{node.pid}/root/proc/{component.pid()}/stat").read_text()
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

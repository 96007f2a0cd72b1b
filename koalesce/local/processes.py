"""Processes of a node by the names of their programs, whoever has started them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from koalesce.errors import ClusterError

_LONGEST_NAME = 15  # of the kernel's name of a process (proc_pid_comm(5))
_PATIENCE = 10.0
_ASKED = 5.0  # seconds that a process has to end by itself
_STARTED = 90.0  # kubelets, and others that look after processes, wait before they start again what has ended often
Run = Callable[[Sequence[str], str], str]


def of_name(run: Run, name: str) -> list[str]:
    """The ids of the processes of a program; ClusterError if there are none."""
    pids = _alive(run, name)
    if not pids:
        raise ClusterError(f"there is no process {name}")
    return pids


def kill(run: Run, name: str) -> None:
    """End all processes of a program at once, and see that they have ended."""
    pids = of_name(run, name)
    run(["sh", "-c", 'kill -KILL "$@" 2>/dev/null || true', "sh", *pids], "")
    deadline = time.monotonic() + _PATIENCE
    while left := sorted({*pids} & {*_alive(run, name)}):
        if time.monotonic() > deadline:
            raise ClusterError(f"{name} (process {left[0]}) doesn't end, not even when it is killed")
        time.sleep(0.05)


def end(run: Run, name: str) -> list[str]:
    """Ask all processes of a program to end, end those that don't, and tell which they were."""
    pids = of_name(run, name)
    signal(run, pids, "TERM")
    deadline = time.monotonic() + _ASKED
    while (left := {*pids} & {*_alive(run, name)}) and time.monotonic() < deadline:
        time.sleep(0.05)
    if left:
        signal(run, sorted(left), "KILL")
    return pids


def await_another(run: Run, name: str, before: Sequence[str], *, where: str) -> None:
    """Wait until other processes of a program run than before, and none of those; ClusterError if nobody starts one."""
    deadline = time.monotonic() + _STARTED
    while not (now := {*_alive(run, name)}) or now & {*before}:
        if time.monotonic() > deadline:
            said = "doesn't end" if now & {*before} else "has ended, and nobody starts it again"
            raise ClusterError(f"{name} on {where} {said}")
        time.sleep(0.05)


def signal(run: Run, pids: Sequence[str], name: str) -> None:
    """Send a signal to those of these processes that there still are."""
    run(["sh", "-c", f'for pid; do kill -{name} "$pid" 2>/dev/null || true; done', "sh", *pids], "")


def _alive(run: Run, name: str) -> list[str]:
    # "Z" is what has ended and not been waited for: it does nothing any more.
    script = (
        'for pid in $(pgrep -x -- "$1"); do grep -q "^State:.Z" "/proc/$pid/status" 2>/dev/null || echo "$pid"; done'
    )
    return run(["sh", "-c", script, "sh", name[:_LONGEST_NAME]], "").split()

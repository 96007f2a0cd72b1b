"""Disks of nodes that are full: file systems in memory, whose limit is brought down to what is on them.

Nothing is written for that, and so nothing of the machine is used up; programs find no room all the same (ENOSPC, tmpfs(5)).
"""

from __future__ import annotations

from collections.abc import Callable

from koalesce.errors import ClusterError

_TRIES = 20  # as others may write meanwhile
_MARK = ".koalesce-full"

Run = Callable[..., str]  # runs a command on the node, and returns its output; ClusterError if it fails


def fill(run: Run, path: str) -> None:
    """Have the disk take nothing more, and see that it has no room."""
    problem: ClusterError | None = None
    for _ in range(_TRIES):
        used, _, page = _blocks(run, path)
        if not used:
            run("sh", "-c", 'echo >"$1"', "sh", f"{path}/{_MARK}")  # a limit of nothing would be none
            continue
        try:
            run("mount", "-o", f"remount,size={used * page}", path)
        except ClusterError as error:
            problem = error
            continue
        if not _blocks(run, path)[1]:
            return
    raise problem or ClusterError(f"{path} has room again and again")


def empty(run: Run, path: str, size: int) -> None:
    """Have it take as much as at first."""
    run("mount", "-o", f"remount,size={size}", path)
    run("rm", "-f", f"{path}/{_MARK}")


def _blocks(run: Run, path: str) -> tuple[int, int, int]:
    """How many blocks are used, and free, and the size of one."""
    total, free, size = map(int, run("stat", "-f", "-c", "%b %f %S", path).split())
    return total - free, free, size

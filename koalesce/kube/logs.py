"""What containers wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koalesce.kube.resource import PODS

if TYPE_CHECKING:
    from koalesce.kube.client import Kube
    from koalesce.process import Cancel

MOST = 16 * 1024 * 1024  # bytes


def read(
    kube: Kube,
    pod: str,
    *,
    namespace: str,
    container: str | None = None,
    previous: bool = False,
    tail_lines: int | None = None,
    since_seconds: int | None = None,
    since_time: str = "",
    timestamps: bool = False,
    timeout: float = 30.0,
    cancel: Cancel | None = None,
) -> str:
    """The log of a container, at most its first 16 MiB (of the last `tail_lines`, where given)."""
    query = {
        "container": container,
        "previous": previous,
        "tailLines": tail_lines,
        "sinceSeconds": since_seconds,
        "sinceTime": since_time,
        "timestamps": timestamps,
        "limitBytes": MOST,
    }
    path = PODS.path(namespace, pod, "log")
    return kube.text("GET", path, query=query, timeout=timeout, cancel=cancel)

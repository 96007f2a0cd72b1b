"""What containers wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koalesce.kube.errors import LOGS_REMOVED, ApiError
from koalesce.kube.resource import PODS
from koalesce.patterns import pattern

if TYPE_CHECKING:
    from koalesce.kube.client import Kube
    from koalesce.process import Cancel

MOST = 16 * 1024 * 1024  # bytes
# What kubelets answer instead of a log, with status 200, until they have noticed that they have removed the container (GetContainerLogs in
# k8s.io/kubernetes/pkg/kubelet/kuberuntime, ReadLogs in k8s.io/cri-client/pkg/logs).
_REMOVED = pattern(
    r'\A(unable to retrieve container logs for \w+://|failed to (try resolving symlinks in path|open log file) "/var/log/pods/)[^\n]*\n?\Z'
)


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
    """The log of a container, at most its first 16 MiB (of the last `tail_lines`, where given).

    ApiError, also where the kubelet has just removed the log (404, `LogsRemoved`): what it says then is nothing that a container wrote.
    """
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
    text = kube.text("GET", path, query=query, timeout=timeout, cancel=cancel)
    if _REMOVED.search(text):
        raise ApiError(f"GET {path}: {text.strip()}", status=404, reason=LOGS_REMOVED)
    return text

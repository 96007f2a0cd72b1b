"""Whether connections can be tried from the pods of a cluster that others made, by ephemeral containers, and what can be told of them.

Nothing is tried: it's seen by the version, by what we may do, and by what the nodes are.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # as Kubernetes calls them
# Exec by a websocket is a GET, and asks for `create` from 1.35 on.
_RIGHTS = (("patch", "pods/ephemeralcontainers"), ("get", "pods/exec"), ("create", "pods/exec"))
_EPHEMERAL = (1, 25)  # https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/
_CLOSED_STDIN = (1, 30)  # KEP-4006
Object = Mapping[str, Any]


def problem(settings: Mapping[str, Any], version: str, *, may: Callable[[str, str], bool]) -> str:
    """Why it can't be; empty if it can."""
    if settings.get("pod_probes") == "none":
        return "the setting pod_probes is none"
    if _minor(version) < _EPHEMERAL:
        return f"Kubernetes {version} has no ephemeral containers"
    lacking = [f"{verb} {what}" for verb, what in _RIGHTS if not may(verb, what)]
    return f"the context may not {', '.join(lacking)}" if lacking else ""


def capabilities(settings: Mapping[str, Any], version: str, nodes: Sequence[Object]) -> frozenset[str]:
    """What probes of pods can tell: less where our program can't be put there, or isn't to be."""
    found = {"pod-probe"}
    ours = ("linux", MACHINES.get(platform.machine(), platform.machine()))
    runs_here = all(_system(node) == ours for node in nodes)
    if settings.get("pod_probes") != "agnhost" and _minor(version) >= _CLOSED_STDIN and runs_here:
        found |= {"probe-answers", "probe-icmp"}
    return frozenset(found)


def _system(node: Object) -> tuple[Any, Any]:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return info.get("operatingSystem"), info.get("architecture")


def _minor(version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)

"""The commands that show and remove what a run has left in a cluster that stays."""

from __future__ import annotations

import shlex

from koalesce.kube.leftovers import TIME, Left, left_by
from koalesce.kube.marks import RUN_LABEL, run_label

__all__ = ["TIME", "Left", "commands", "left_by", "look"]
_NAMESPACES = "namespaces"


def commands(left: list[Left], kubeconfig: str) -> list[str]:
    """What removes them: a command for those in no namespace, and one for each namespace that stays."""
    by_namespace: dict[str, list[str]] = {}
    for each in left:
        by_namespace.setdefault(each.namespace, []).append(each.name)
    return [
        shlex.join(["kubectl", "--kubeconfig", kubeconfig, *(["-n", namespace] if namespace else []), "delete", *names])
        for namespace, names in sorted(by_namespace.items())
    ]


def look(kubeconfig: str, run_id: str) -> str:
    """A command that shows what is left, for who must find it out without us."""
    selector = f"{RUN_LABEL}={run_label(run_id)}"
    return shlex.join(["kubectl", "--kubeconfig", kubeconfig, "get", _NAMESPACES, "-l", selector])

"""What a run has made in a cluster that stays, and not removed: found by its labels."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from koalesce.engine.namespaces import run_label
from koalesce.errors import KoalesceError
from koalesce.kube import Kube, Resource
from koalesce.steps.objects.ownership import RUN_LABEL, TEST_LABEL

TIME = 5.0  # seconds for all of it: somebody wants to leave
_TIMEOUT = 2.0  # of one look
_AT_ONCE = 8
_NAMESPACES = "namespaces"


@dataclass(frozen=True, slots=True)
class Left:
    """An object that is left, as kubectl names it: `configmap/a`, in a namespace that stays (or in none)."""

    name: str
    namespace: str = ""


def left_by(kube: Kube, run_id: str) -> list[Left]:
    """The namespaces that a run has made, and its objects outside of them, but for those on their way out; KoalesceError if it can't be told."""
    selector = f"{RUN_LABEL}={run_label(run_id)},{TEST_LABEL}"
    kinds = {kind.name: kind for kind in reversed(kube.resources()) if "list" in kind.verbs and "delete" in kind.verbs}
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="leftovers")
    looks: dict[str, Future[list[dict[str, Any]]]] = {
        name: pool.submit(kube.list, kind, selector=selector, metadata_only=True, timeout=_TIMEOUT)
        for name, kind in kinds.items()
    }
    unseen = wait(looks.values(), TIME).not_done
    pool.shutdown(wait=False, cancel_futures=True)
    if unseen:
        raise KoalesceError(f"no answer within {TIME:.0f}s")
    found = {name: [obj["metadata"] for obj in look.result()] for name, look in looks.items()}
    going = {metadata["name"] for metadata in found.get(_NAMESPACES, ())}
    return [left for name, kind in sorted(kinds.items()) for left in _of_kind(kind, found[name], going)]


def _of_kind(kind: Resource, found: list[Mapping[str, Any]], namespaces: set[str]) -> Iterator[Left]:
    """What somebody must remove: nothing that goes with its namespace or its owner, or is going already."""
    for metadata in found:
        namespace = metadata.get("namespace") or ""
        if namespace in namespaces or metadata.get("deletionTimestamp") or metadata.get("ownerReferences"):
            continue
        yield Left(f"{kind.name}/{metadata['name']}", namespace)


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

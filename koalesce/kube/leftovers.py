"""What a run has made in a cluster that stays, and not removed: found by its labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from koalesce.errors import KoalesceError
from koalesce.kube.errors import ApiError
from koalesce.kube.marks import RUN_LABEL, TEST_LABEL, run_label

if TYPE_CHECKING:
    from koalesce.kube.client import Kube
    from koalesce.kube.resource import Resource

TIME = 5.0  # seconds for all of it: somebody wants to leave
_TIMEOUT = 2.0  # of one look
_AT_ONCE = 8
_NOT_FOR_US = (403, 404, 405)
_NAMESPACES = "namespaces"


@dataclass(frozen=True, slots=True)
class Left:
    """An object that is left, as kubectl names it: `configmap/a`, in a namespace that stays (or in none)."""

    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.name} in {self.namespace}" if self.namespace else self.name


def left_by(kube: Kube, run_id: str, *, time: float = TIME, visible: bool = False) -> list[Left]:
    """The namespaces that a run has made, and its objects outside of them, but for those on their way out; KoalesceError if it can't be told.

    `visible`: kinds that we may not list are passed over, rather than an error.
    """
    selector = f"{RUN_LABEL}={run_label(run_id)},{TEST_LABEL}"
    kinds = {kind.name: kind for kind in reversed(kube.resources()) if "list" in kind.verbs and "delete" in kind.verbs}
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="leftovers")
    looks: dict[str, Future[list[dict[str, Any]]]] = {
        name: pool.submit(kube.list, kind, selector=selector, metadata_only=True, timeout=max(_TIMEOUT, time / 2))
        for name, kind in kinds.items()
    }
    unseen = wait(looks.values(), time).not_done
    pool.shutdown(wait=False, cancel_futures=True)
    if unseen:
        raise KoalesceError(f"no answer within {time:.0f}s")
    found = {name: _result(look, visible) for name, look in looks.items()}
    going = {metadata["name"] for metadata in found.get(_NAMESPACES, ())}
    return [left for name, kind in sorted(kinds.items()) for left in _of_kind(kind, found[name], going)]


def _result(look: Future[list[dict[str, Any]]], visible: bool) -> list[Mapping[str, Any]]:
    try:
        return [obj["metadata"] for obj in look.result()]
    except ApiError as error:
        if visible and error.status in _NOT_FOR_US:
            return []
        raise


def _of_kind(kind: Resource, found: list[Mapping[str, Any]], namespaces: set[str]) -> Iterator[Left]:
    """What somebody must remove: nothing that goes with its namespace or its owner, or is going already."""
    for metadata in found:
        namespace = metadata.get("namespace") or ""
        if namespace in namespaces or metadata.get("deletionTimestamp") or metadata.get("ownerReferences"):
            continue
        yield Left(f"{kind.name}/{metadata['name']}", namespace)

"""What a cluster's objects are right now, as far as the API server has told: one kind, in one namespace or all."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from koalesce.errors import ClusterError
from koalesce.kube.errors import CANCELLED, TIMEOUT, ApiError, UnknownKind
from koalesce.kube.history import Move, transitions
from koalesce.kube.resource import Resource
from koalesce.process import Cancel

_log = logging.getLogger(__name__)
Object = dict[str, Any]
Key = tuple[str, str]  # namespace (empty for cluster-scoped), name
_KEPT_TRANSITIONS = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """One object went from `old` to `new` (None: not there); `generation` counts the store's changes."""

    generation: int
    key: Key
    old: Object | None
    new: Object | None


@dataclass(frozen=True, slots=True)
class Transition:
    """One thing that changed about an object, `at` this reading of the monotonic clock."""

    at: float
    key: Key
    labels: Mapping[str, str]
    move: Move


Listener = Callable[[Change | None], None]  # None: the store has ended, and with an error


class Store:
    """The objects, and who wants to know of changes. Readers are many threads; the one that writes is its Follower's.

    Objects are shared: nobody may change them. `metadata.managedFields` is left out.
    """

    def __init__(self, resource: Resource, namespace: str | None) -> None:
        self.resource = resource
        self.namespace = namespace
        self._moved = threading.Condition()
        self._objects: dict[Key, Object] = {}
        self._transitions: deque[Transition] = deque(maxlen=_KEPT_TRANSITIONS)
        self._listeners: tuple[Listener, ...] = ()
        self._generation = 0
        self._version = ""  # of the last event: where a new connection goes on
        self._synced_at: float | None = None
        self._has_listed = False
        self._down: ApiError | None = None
        self._down_since = 0.0
        self._end: ClusterError | None = None

    def __str__(self) -> str:
        return f"{self.resource} in {self.namespace}" if self.namespace else str(self.resource)

    # For readers.

    @property
    def is_alive(self) -> bool:
        """False once it has been closed or refused for good."""
        return self._end is None

    def listen(self, listener: Listener) -> None:
        """Call `listener` for each change, from the writer's thread; a last time with None if the store is refused for good."""
        with self._moved:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Listener) -> None:
        """Call it no more."""
        with self._moved:
            self._listeners = tuple(known for known in self._listeners if known != listener)

    def sync(self, deadline: float, cancel: Cancel | None = None) -> float:
        """Wait until the store shows the cluster's state; returns since when (monotonic). ApiError at the deadline or if refused."""
        with self._moved:
            self._wait(lambda: self._end is not None or self._is_current(), deadline, cancel)
            if self._end is not None:
                raise self._end
            if self._synced_at is None or self._down is not None:
                raise self._not_synced(cancel)
            return self._synced_at

    def await_state(
        self, reached: Callable[[dict[Key, Object], str], bool], deadline: float, cancel: Cancel | None = None
    ) -> bool:
        """Wait until objects and last resourceVersion satisfy `reached`; whether they do."""
        with self._moved:
            return self._wait(lambda: reached(self._objects, self._version), deadline, cancel)

    @contextlib.contextmanager
    def reading(self) -> Iterator[tuple[dict[Key, Object], int]]:
        """The objects and the generation, standing still while the block runs (keep it short)."""
        with self._moved:
            yield self._objects, self._generation

    def transitions(self, since: float) -> list[Transition]:
        """What happened since then (monotonic)."""
        with self._moved:
            return [transition for transition in self._transitions if transition.at >= since]

    # For the writer.

    @property
    def version(self) -> str:
        """The resourceVersion to go on from; empty where a list is due."""
        with self._moved:
            return self._version

    def replace(self, objects: dict[Key, Object], version: str) -> None:
        """All objects anew; what is different from before are changes, so that no deletion in between is missed."""
        with self._moved:
            old, changes = self._objects, []
            for key in old.keys() | objects.keys():
                before, after = old.get(key), objects.get(key)
                if _identity(before) != _identity(after):
                    changes.append(self._record(key, before, after, is_news=self._has_listed))
            self._objects, self._version, self._has_listed = objects, version, True
            self._synced_at, self._down = time.monotonic(), None
            self._moved.notify_all()
            listeners = self._listeners
        _tell(listeners, changes)

    def take(self, kind: str, obj: Object) -> None:
        """One event of a watch."""
        with self._moved:
            self._version = obj["metadata"].get("resourceVersion") or self._version
            changes = []
            if kind != "BOOKMARK":
                key = key_of(obj)
                old, new = self._objects.pop(key, None), None if kind == "DELETED" else slim(obj)
                if new is not None:
                    self._objects[key] = new
                if _identity(old) != _identity(new):
                    changes.append(self._record(key, old, new))
            self._moved.notify_all()
            listeners = self._listeners
        _tell(listeners, changes)

    def distrust(self) -> None:
        """What is held may be out of date, or its resourceVersion is: readers wait for a new list."""
        with self._moved:
            self._synced_at = None
            self._version = ""

    def goes_down(self, error: ApiError) -> None:
        """The API server doesn't answer: readers wait for it."""
        with self._moved:
            if self._down is None:
                self._down_since = time.monotonic()
                _log.info("%s: %s", self, error.message)
            self._down = error

    def comes_up(self) -> None:
        """It answers again: what is held is current."""
        with self._moved:
            self._down = None
            self._moved.notify_all()

    def refuse(self, error: ClusterError) -> None:
        """It can't be watched, for good: readers and listeners learn it."""
        if isinstance(error, ApiError) and error.status == 404:
            error = UnknownKind(f"the cluster no longer serves {self.resource}")
        self._finish(error)
        for listener in self._listeners:
            listener(None)

    def close(self) -> None:
        """Nobody needs it any more."""
        self._finish(ApiError(f"{self}: no longer watched", reason=CANCELLED))

    def _finish(self, error: ClusterError) -> None:
        with self._moved:
            self._end = self._end or error
            self._moved.notify_all()

    def _is_current(self) -> bool:
        return self._synced_at is not None and self._down is None

    def _wait(self, is_done: Callable[[], bool], deadline: float, cancel: Cancel | None) -> bool:
        while not is_done():
            remaining = deadline - time.monotonic()
            if remaining <= 0 or (cancel is not None and cancel.is_set()):
                return False
            self._moved.wait(remaining if cancel is None else min(remaining, 0.05))
        return True

    def _not_synced(self, cancel: Cancel | None) -> ApiError:
        if cancel is not None and cancel.is_set():
            return ApiError(f"{self}: cancelled", reason=CANCELLED)
        if self._down is None:
            return ApiError(f"{self}: no complete list in time", reason=TIMEOUT)
        seconds, error = time.monotonic() - self._down_since, self._down
        message = f"{self}: not watched for {seconds:.0f}s now: {error.message}"
        return ApiError(message, status=error.status, reason=error.reason)

    def _record(self, key: Key, old: Object | None, new: Object | None, *, is_news: bool = True) -> Change:
        self._generation += 1
        if is_news:
            now, labels = time.monotonic(), labels_of(new or old or {"metadata": {}})
            self._transitions.extend(Transition(now, key, labels, move) for move in transitions(old, new))
        return Change(self._generation, key, old, new)


def key_of(obj: Object) -> Key:
    """Namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def labels_of(obj: Object) -> Mapping[str, str]:
    """The labels, which may be missing."""
    return obj["metadata"].get("labels") or {}


def slim(obj: Object) -> Object:
    """The object without `managedFields`, which are the larger part of many and of no use here."""
    obj["metadata"].pop("managedFields", None)
    return obj


def _identity(obj: Object | None) -> tuple[str, str] | None:
    return None if obj is None else (obj["metadata"].get("uid", ""), obj["metadata"].get("resourceVersion", ""))


def _tell(listeners: tuple[Listener, ...], changes: list[Change]) -> None:
    for change in changes:
        for listener in listeners:
            listener(change)

"""What a cluster's objects are right now: one list+watch for each kind and namespace, shared by all who wait.

A store begins with a streaming list (KEP-3157) where the server has it, else with a list and a watch from there. It goes on over closed
connections from the last resourceVersion, lists anew when that one has expired (410), backs off while the server fails, and takes
a connection that stays silent for longer than bookmarks are apart (a minute) for dead.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from koalesce.kube.backoff import Backoff
from koalesce.kube.errors import BAD_ANSWER, CANCELLED, TIMEOUT, ApiError, UnknownKind
from koalesce.kube.history import transitions
from koalesce.kube.resource import Resource
from koalesce.process import Cancel

if TYPE_CHECKING:
    from koalesce.kube.transport import Transport

_log = logging.getLogger(__name__)
Object = dict[str, Any]
Key = tuple[str, str]  # namespace (empty for cluster-scoped), name
_FINAL = (401, 403, 404, 405)
_INITIAL_END = "k8s.io/initial-events-end"
_KEPT_TRANSITIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds: `silence` ends a connection, `streaming` is how long a streaming list may pause, `linger` an unused store lives."""

    silence: float = 80.0
    streaming: float = 5.0
    linger: float = 10.0
    session: int = 300


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
    text: str


Listener = Callable[[Change | None], None]  # None: the store has ended, and with an error


ListAll = Callable[[Resource, str | None], tuple[list[Object], str]]  # objects, and the list's resourceVersion


class Store:
    """The objects of one kind in one namespace (or all), kept up to date by a thread of its own.

    Objects are shared: nobody may change them. `metadata.managedFields` is left out.
    """

    def __init__(
        self,
        resource: Resource,
        namespace: str | None,
        transport: Callable[[], Transport],
        list_all: ListAll,
        limits: Limits,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.users = 0
        self.idle_since = 0.0
        self._transport = transport
        self._list_all = list_all
        self._limits = limits
        self._changed = threading.Condition()
        self._objects: dict[Key, Object] = {}
        self._transitions: deque[Transition] = deque(maxlen=_KEPT_TRANSITIONS)
        self._listeners: tuple[Listener, ...] = ()
        self._generation = 0
        self._version = ""  # of the last event: where a new connection goes on
        self._synced_at: float | None = None
        self._down: ApiError | None = None
        self._down_since = 0.0
        self._final: ApiError | None = None
        self._closing = threading.Event()
        self._epoch = 0  # counts the calls of `relist`
        self._end_stream: Callable[[], None] = lambda: None
        self._streams_lists = True
        self._backoff = Backoff()
        self._thread = threading.Thread(target=self._run, name=f"koalesce-watch-{resource}", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """End the connection and the thread; waiters get an ApiError."""
        with self._changed:
            self._final = self._final or ApiError(f"{self}: no longer watched", reason=CANCELLED)
            self._closing.set()
            self._end_stream()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the thread's end after `close`."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(2)

    def relist(self) -> None:
        """Distrust the connection: end it and begin with a list. Readers wait for it."""
        with self._changed:
            self._epoch += 1
            self._synced_at = None
            self._version = ""
            self._end_stream()

    @property
    def is_alive(self) -> bool:
        """False once it has been closed or refused for good."""
        return self._final is None

    def listen(self, listener: Listener) -> None:
        """Call `listener` for each change, from the store's thread; a last time with None if the store is refused for good."""
        with self._changed:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Listener) -> None:
        """Call it no more."""
        with self._changed:
            self._listeners = tuple(known for known in self._listeners if known != listener)

    def sync(self, deadline: float, cancel: Cancel | None = None) -> float:
        """Wait until the store shows the cluster's state; returns since when (monotonic). ApiError at the deadline or if refused."""

        def is_done() -> bool:
            return self._final is not None or (self._synced_at is not None and self._down is None)

        with self._changed:
            self._wait(is_done, deadline, cancel)
            if self._final is not None:
                raise self._final
            if not is_done():
                raise self._not_synced(cancel)
            assert self._synced_at is not None  # noqa: S101 - is_done says so
            return self._synced_at

    def await_state(
        self, reached: Callable[[dict[Key, Object], str], bool], deadline: float, cancel: Cancel | None = None
    ) -> bool:
        """Wait until objects and last resourceVersion satisfy `reached`; whether they do."""
        with self._changed:
            return self._wait(lambda: reached(self._objects, self._version), deadline, cancel)

    @contextlib.contextmanager
    def reading(self) -> Iterator[tuple[dict[Key, Object], int]]:
        """The objects and the generation, standing still while the block runs (keep it short)."""
        with self._changed:
            yield self._objects, self._generation

    def transitions(self, since: float) -> list[Transition]:
        """What happened since then (monotonic)."""
        with self._changed:
            return [transition for transition in self._transitions if transition.at >= since]

    def __str__(self) -> str:
        return f"{self.resource} in {self.namespace}" if self.namespace else str(self.resource)

    def _wait(self, is_done: Callable[[], bool], deadline: float, cancel: Cancel | None) -> bool:
        while not is_done():
            remaining = deadline - time.monotonic()
            if remaining <= 0 or (cancel is not None and cancel.is_set()):
                return False
            self._changed.wait(min(remaining, 0.05) if cancel is not None else remaining)
        return True

    def _not_synced(self, cancel: Cancel | None) -> ApiError:
        if cancel is not None and cancel.is_set():
            return ApiError(f"{self}: cancelled", reason=CANCELLED)
        if self._down is not None:
            seconds = time.monotonic() - self._down_since
            return ApiError(
                f"{self}: the API server has not answered for {seconds:.0f}s: {self._down.message}",
                status=self._down.status,
                reason=self._down.reason,
            )
        return ApiError(f"{self}: no complete list in time", reason=TIMEOUT)

    # From here on: the store's thread.

    def _run(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._follow()
            except ApiError as error:
                if self._closing.is_set() or not self._is_passing(error):
                    return
            if time.monotonic() - began >= 1:
                self._backoff.reset()
            self._closing.wait(self._backoff.next())

    def _is_passing(self, error: ApiError) -> bool:
        """Take note of a broken connection; False if there is no use in another."""
        if error.cancelled:  # by relist
            return True
        if error.status in _FINAL:
            self._refuse(error)
            return False
        with self._changed:
            if error.status == 410:
                self._version = ""
                self._synced_at = None
            elif self._down is None:
                self._down, self._down_since = error, time.monotonic()
                _log.info("%s: %s", self, error.message)
        return True

    def _refuse(self, error: ApiError) -> None:
        with self._changed:
            self._final = UnknownKind(f"the cluster no longer serves {self.resource}") if error.status == 404 else error
            self._changed.notify_all()
            listeners = self._listeners
        for listener in listeners:
            listener(None)

    def _follow(self) -> None:
        """One connection, from where the last one ended to the server's end of it."""
        with self._changed:
            epoch, version = self._epoch, self._version
        if not version and self._streams_lists:
            self._stream_list(epoch)
        elif version:
            self._watch({"resourceVersion": version}, None, epoch)
        if not version and not self._streams_lists:
            items, version = self._list_all(self.resource, self.namespace)
            self._replace({key_of(item): _slim(item) for item in items}, version)
            self._watch({"resourceVersion": version}, None, epoch)

    def _stream_list(self, epoch: int) -> None:
        """A watch that begins with what there is; a server that can't is asked for a list from then on."""
        try:
            self._watch({"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan"}, {}, epoch)
        except ApiError as error:
            # Switched off: 400 or 422. Unknown to the server: the end of the initial events never comes.
            if error.status not in (400, 422) and not (error.reason == TIMEOUT and self._synced_at is None):
                raise
            self._streams_lists = False

    def _watch(self, query: Mapping[str, Any], initial: dict[Key, Object] | None, epoch: int) -> None:
        """Follow one connection; `initial` gathers the objects of a streaming list until that is complete."""
        seconds = self._limits.session + random.randrange(30)  # noqa: S311 - so that not all end at once
        stream = self._transport().stream(
            self.resource.path(self.namespace),
            query={"watch": True, "allowWatchBookmarks": True, "timeoutSeconds": seconds, **query},
            silence=self._limits.silence if initial is None else self._limits.streaming,
        )
        with contextlib.closing(stream):
            self._begin(stream.end, epoch)
            if initial is None:
                self._is_up()
            for line in stream.lines():
                if not line.strip():
                    continue
                kind, obj = _event(line, self)
                if initial is None:
                    self._take(kind, obj)
                elif self._gather(initial, kind, obj):
                    initial = None
                    stream.wait_longer(self._limits.silence)

    def _begin(self, end: Callable[[], None], epoch: int) -> None:
        with self._changed:
            self._end_stream = end
            if self._closing.is_set() or epoch != self._epoch:
                end()

    def _is_up(self) -> None:
        """The connection stands: what is held is current again."""
        with self._changed:
            if self._down is not None:
                self._down = None
                self._changed.notify_all()

    def _gather(self, initial: dict[Key, Object], kind: str, obj: Object) -> bool:
        """Take an event of a streaming list; True once it is complete."""
        if kind == "BOOKMARK":
            if obj["metadata"].get("annotations", {}).get(_INITIAL_END) == "true":
                self._replace(initial, obj["metadata"]["resourceVersion"])
                return True
        elif kind == "DELETED":
            initial.pop(key_of(obj), None)
        else:
            initial[key_of(obj)] = _slim(obj)
        return False

    def _replace(self, objects: dict[Key, Object], version: str) -> None:
        """All objects anew; what is different from before are changes, so that no deletion in between is missed."""
        with self._changed:
            old, first = self._objects, self._synced_at is None and not self._generation
            changes = []
            for key in old.keys() | objects.keys():
                before, after = old.get(key), objects.get(key)
                if _version(before) != _version(after):
                    changes.append(self._record(key, before, after, is_news=not first))
            self._objects, self._version = objects, version
            self._synced_at, self._down = time.monotonic(), None
            self._changed.notify_all()
            listeners = self._listeners
        _tell(listeners, changes)

    def _take(self, kind: str, obj: Object) -> None:
        """One event of a watch."""
        version = obj["metadata"].get("resourceVersion", "")
        with self._changed:
            self._version = version or self._version
            changes = []
            if kind != "BOOKMARK":
                key = key_of(obj)
                old, new = self._objects.get(key), None if kind == "DELETED" else _slim(obj)
                if new is None:
                    self._objects.pop(key, None)
                else:
                    self._objects[key] = new
                if _version(old) != _version(new):
                    changes.append(self._record(key, old, new))
            self._changed.notify_all()
            listeners = self._listeners
        _tell(listeners, changes)

    def _record(self, key: Key, old: Object | None, new: Object | None, *, is_news: bool = True) -> Change:
        self._generation += 1
        if is_news:
            now, labels = time.monotonic(), labels_of(new or old or {"metadata": {}})
            self._transitions.extend(Transition(now, key, labels, text) for text in transitions(old, new))
        return Change(self._generation, key, old, new)


class Stores:
    """The stores of one cluster. A store lives while it is used, and lingers for a while after."""

    def __init__(self, transport: Callable[[], Transport], list_all: ListAll, limits: Limits | None = None) -> None:
        self._transport = transport
        self._list_all = list_all
        self._limits = limits or Limits()
        self._lock = threading.Condition()
        self._stores: dict[tuple[str, str | None], Store] = {}
        self._reaper: threading.Thread | None = None
        self._closed = False

    def acquire(self, resource: Resource, namespace: str | None) -> Store:
        """The store of a kind and namespace, or of the kind in all namespaces where that one is there already."""
        with self._lock:
            if self._closed:
                raise ApiError(f"{resource}: the connection to the cluster is closed", reason=CANCELLED)
            for scope in (None, namespace):
                store = self._stores.get((resource.path(), scope))
                if store is not None and store.is_alive:
                    break
            else:
                store = Store(resource, namespace, self._transport, self._list_all, self._limits)
                self._stores[resource.path(), namespace] = store
                store.start()
            store.users += 1
            return store

    def release(self, store: Store) -> None:
        """It's no longer used by one who acquired it."""
        with self._lock:
            store.users -= 1
            store.idle_since = time.monotonic()
            if store.users == 0 and not self._closed and self._reaper is None:
                self._reaper = threading.Thread(target=self._reap, name="koalesce-watch-reaper", daemon=True)
                self._reaper.start()

    def close(self) -> None:
        """End all."""
        with self._lock:
            self._closed = True
            stores, self._stores = list(self._stores.values()), {}
            reaper = self._reaper
            self._lock.notify_all()
        for store in stores:
            store.close()
        for store in stores:
            store.join()
        if reaper is not None:
            reaper.join(2)

    def _reap(self) -> None:
        """End stores that nobody has used for a while; the thread ends when there is none left to wait for."""
        while True:
            with self._lock:
                idle = [(key, store) for key, store in self._stores.items() if store.users == 0]
                if self._closed or not idle:
                    self._reaper = None
                    return
                now = time.monotonic()
                due = [(key, store) for key, store in idle if now - store.idle_since >= self._limits.linger]
                for key, _ in due:
                    del self._stores[key]
                if not due:
                    self._lock.wait(min(store.idle_since for _, store in idle) + self._limits.linger - now)
            for _, store in due:
                store.close()


def _tell(listeners: tuple[Listener, ...], changes: list[Change]) -> None:
    for change in changes:
        for listener in listeners:
            listener(change)


def _event(line: bytes, store: Store) -> tuple[str, Object]:
    try:
        event = json.loads(line)
        kind, obj = event["type"], event["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise ApiError(f"{store}: the watch sent what is no event: {line[:200]!r}", reason=BAD_ANSWER) from error
    if kind == "ERROR":
        raise ApiError.from_status(obj, call=f"watch {store}")
    return kind, obj


def key_of(obj: Object) -> Key:
    """Namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def labels_of(obj: Object) -> Mapping[str, str]:
    """The labels, which may be missing."""
    return obj["metadata"].get("labels") or {}


def _slim(obj: Object) -> Object:
    obj["metadata"].pop("managedFields", None)
    return obj


def _version(obj: Object | None) -> tuple[str, str] | None:
    return None if obj is None else (obj["metadata"].get("uid", ""), obj["metadata"].get("resourceVersion", ""))

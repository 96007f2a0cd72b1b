"""Watching reads: what one step looked at, and whether it has changed since."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from koalesce.errors import ClusterError
from koalesce.kube import selector as selectors
from koalesce.kube.errors import CANCELLED, TIMEOUT, ApiError, UnknownKind
from koalesce.kube.history import Move, chains
from koalesce.kube.resource import Resource
from koalesce.kube.store import Change, Key, Listener, Store, key_of, labels_of
from koalesce.kube.stores import Shared, Stores
from koalesce.process import Cancel

if TYPE_CHECKING:
    from koalesce.kube.client import Kube

Object = dict[str, Any]
Lines = list[str]
Known = list[tuple[Resource, Object]]
Objects = list[Object]  # inside a class that has a method `list`, the word means the method
_WATCH_VERBS = frozenset({"list", "watch"})


@dataclass(frozen=True, slots=True)
class Target:
    """What a read was of: one object (`name`) or those that a selector takes."""

    resource: Resource
    namespace: str | None
    name: str = ""
    selector: str = ""

    def covers(self, key: Key, *labels: Mapping[str, str]) -> bool:
        """Whether an object is meant, going by the labels that it has or had."""
        namespace, name = key
        if self.namespace and self.resource.namespaced and namespace != self.namespace:
            return False
        if self.name:
            return name == self.name
        takes = selectors.parse(self.selector)
        return any(takes(known) for known in labels)


@dataclass(frozen=True, slots=True)
class _Hold:
    shared: Shared
    listener: Listener

    @property
    def store(self) -> Store:
        return self.shared.store


class View:
    """The reads of one step, each from the shared store of its kind and namespace, never older than the moment of the call.

    The first read of a thing is compared with the API server, and again every 20 s: a store that was behind (another program has just
    written) catches up first. Objects are shared with all other readers: don't change them. They come without
    `metadata.managedFields`. Kinds that can't be watched are read from the API server each time.
    """

    def __init__(self, kube: Kube, stores: Stores, on_change: Callable[[], None]) -> None:
        self.kube = kube
        self._stores = stores
        self._on_change = on_change
        self._made_at = time.monotonic()
        self._lock = threading.Lock()
        self._holds: dict[tuple[Resource, str | None], _Hold] = {}
        self._reads: dict[tuple[Store, Target], int] = {}  # of this attempt, with the store's generation at the time
        self._seen: dict[Target, Store] = {}  # of all attempts
        self._confirmed: dict[tuple[Store, Target], float] = {}
        self._changed = False
        self._is_blind = False

    def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        timeout: float = 30.0,
        cancel: Cancel | None = None,
    ) -> Object | None:
        """The object, or None if there is none."""
        timeout = max(timeout, self._stores.limits.least)
        if not resource.verbs >= _WATCH_VERBS:
            self._is_blind = True
            return self.kube.get(resource, name, namespace, timeout=timeout, cancel=cancel)
        scope = (namespace or "default") if resource.namespaced else None
        found = self._read(Target(resource, scope, name=name), timeout, cancel)
        return found[0] if found else None

    def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        selector: str = "",
        timeout: float = 30.0,
        cancel: Cancel | None = None,
    ) -> Objects:
        """The objects of a namespace (None: of all namespaces) that the selector takes, by namespace and name."""
        selectors.parse(selector)
        timeout = max(timeout, self._stores.limits.least)
        if not resource.verbs >= _WATCH_VERBS:
            self._is_blind = True
            return self.kube.list(resource, namespace=namespace, selector=selector, timeout=timeout, cancel=cancel)
        scope = (namespace or None) if resource.namespaced else None
        return self._read(Target(resource, scope, selector=selector), timeout, cancel)

    def now(self, *, cancel: Cancel | None = None) -> datetime:
        """The time by the server's own clock. What depends on it changes without a watch telling."""
        with self._lock:
            self._is_blind = True
        return self.kube.now(cancel=cancel)

    def begin(self) -> None:
        """An attempt begins: forget what was read, and note what is read from now on."""
        with self._lock:
            self._reads.clear()
            self._changed = False
            self._is_blind = False

    @property
    def has_read(self) -> bool:
        """Whether changes of what this attempt read are told: it read something, all of that can be watched, and no read failed."""
        with self._lock:
            return bool(self._reads) and not self._is_blind

    @property
    def changed(self) -> bool:
        """Whether anything that this attempt read has changed since it was read."""
        with self._lock:
            return self._changed

    def history(self) -> Lines:
        """What happened, while this view was there, to the objects that it read: `pod/web Ready: False → True +1.2s`."""
        with self._lock:
            seen = list(self._seen.items())
        happened: dict[tuple[float, str, Move], None] = {}
        for target, store in seen:
            kind = target.resource.singular or target.resource.kind.lower()
            for transition in store.transitions(self._made_at):
                if target.covers(transition.key, transition.labels):
                    at = max(0.0, transition.at - self._made_at)
                    happened[at, f"{kind}/{transition.key[1]}", transition.move] = None
        return chains(sorted(happened, key=lambda entry: entry[0]))

    def last_seen(self) -> Known:
        """What the reads of all attempts were of, as it is by now, as far as watches have told."""
        with self._lock:
            seen = list(self._seen.items())
        found: dict[tuple[str, Key], tuple[Resource, Object]] = {}
        for target, store in seen:
            with store.reading() as (objects, _):
                for key in sorted(_select(objects, target)):
                    found[target.resource.name, key] = (target.resource, objects[key])
        return list(found.values())

    def close(self) -> None:
        """Let go of the stores; nothing is called any more."""
        with self._lock:
            holds, self._holds = list(self._holds.values()), {}
            self._reads.clear()
        for hold in holds:
            self._let_go(hold)

    def _read(self, target: Target, timeout: float, cancel: Cancel | None) -> Objects:
        asked = time.monotonic()
        hold = self._hold(target)
        store = hold.store
        try:
            self._assure(hold, target, asked, asked + timeout, cancel)
        except ClusterError as error:
            self._is_blind = True
            if isinstance(error, UnknownKind):
                self.kube.forget_kinds()
            raise
        with store.reading() as (objects, generation):
            found = [objects[key] for key in sorted(_select(objects, target))]
            with self._lock:
                self._reads.setdefault((store, target), generation)
                self._seen[target] = store
        if target.resource.name == "secrets":
            for secret in found:
                self.kube.on_secret(secret)
        return found

    def _hold(self, target: Target) -> _Hold:
        """The store that the target is read from, listened to."""
        scope = (target.resource, target.namespace)
        with self._lock:
            old = self._holds.get(scope)
            if old is not None and old.store.is_alive:
                return old
            shared = self._stores.acquire(target.resource, target.namespace)
            hold = self._holds[scope] = _Hold(shared, functools.partial(self._notice, shared.store))
        hold.store.listen(hold.listener)
        if old is not None:
            self._let_go(old)
        return hold

    def _let_go(self, hold: _Hold) -> None:
        hold.store.unlisten(hold.listener)
        self._stores.release(hold.shared)

    def _assure(self, hold: _Hold, target: Target, asked: float, deadline: float, cancel: Cancel | None) -> None:
        """Wait until the store is at least as new as what was `asked` then, as far as the target is concerned."""
        store, limits = hold.store, self._stores.limits
        synced = store.sync(deadline, cancel)
        confirmed = synced if synced >= asked else self._confirmed.get((store, target))
        if confirmed is None or asked - confirmed >= limits.trust:
            reached = self._whether_caught_up(store, target, deadline, cancel)
            if not store.await_state(reached, min(deadline, time.monotonic() + limits.catch_up), cancel):
                _give_up(store, deadline, cancel)
                hold.shared.follower.relist()
                store.sync(deadline, cancel)
            confirmed = asked
        self._confirmed[store, target] = confirmed

    def _whether_caught_up(
        self, store: Store, target: Target, deadline: float, cancel: Cancel | None
    ) -> Callable[[Mapping[Key, Object], str], bool]:
        """Ask the API server now, and return what tells whether a store has got to what it answered."""
        with store.reading() as (objects, _):
            held = {key: _version(objects[key]) for key in _select(objects, target)}
        actual = self._ask(target, max(0.1, deadline - time.monotonic()), cancel)
        # resourceVersions of one kind can be compared as numbers: KEP-5504.
        newest = max((int(version) for version in actual.values() if version.isdigit()), default=0)
        gone = {key: version for key, version in held.items() if key not in actual}

        def is_reached(objects: Mapping[Key, Object], version: str) -> bool:
            if version.isdigit() and int(version) < newest:
                return False
            return all(key not in objects or _version(objects[key]) != old for key, old in gone.items())

        return is_reached

    def _ask(self, target: Target, timeout: float, cancel: Cancel | None) -> dict[Key, str]:
        """Keys and resourceVersions that the API server gives for the target."""
        found: Objects
        if target.name:
            one = self.kube.get(
                target.resource, target.name, target.namespace, metadata_only=True, timeout=timeout, cancel=cancel
            )
            found = [] if one is None else [one]
        else:
            found = self.kube.list(
                target.resource, namespace=target.namespace, selector=target.selector,
                metadata_only=True, timeout=timeout, cancel=cancel,
            )  # fmt: skip
        return {key_of(obj): _version(obj) for obj in found}

    def _notice(self, store: Store, change: Change | None) -> None:
        """A store tells of a change, or (None) of its end."""
        with self._lock:
            concerned = any(
                known is store and (change is None or (change.generation > generation and _concerns(change, target)))
                for (known, target), generation in self._reads.items()
            )
            self._changed = self._changed or concerned
        if concerned:
            self._on_change()


def _give_up(store: Store, deadline: float, cancel: Cancel | None) -> None:
    """Raise if the wait ended because of its caller, not because of the store."""
    if cancel is not None and cancel.is_set():
        raise ApiError(f"{store}: cancelled", reason=CANCELLED)
    if time.monotonic() >= deadline:
        raise ApiError(f"{store}: the watch is behind the API server", reason=TIMEOUT)


def _select(objects: Mapping[Key, Object], target: Target) -> list[Key]:
    if target.name:
        key = (target.namespace or "", target.name)
        return [key] if key in objects else []
    return [key for key, obj in objects.items() if target.covers(key, labels_of(obj))]


def _concerns(change: Change, target: Target) -> bool:
    return target.covers(change.key, *(labels_of(obj) for obj in (change.old, change.new) if obj is not None))


def _version(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))

"""The stores of one cluster, shared: hundreds of waits on one kind and namespace are one connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from koalesce.kube.errors import CANCELLED, ApiError
from koalesce.kube.follower import Follower, ListAll
from koalesce.kube.limits import Limits
from koalesce.kube.resource import Resource
from koalesce.kube.store import Store

if TYPE_CHECKING:
    from koalesce.kube.transport import Transport


@dataclass(slots=True, eq=False)
class Shared:
    """A store, who keeps it up to date, and how many use it."""

    store: Store
    follower: Follower
    users: int = 0
    idle_since: float = 0.0


class Stores:
    """A store lives while it is used, and lingers for a while after."""

    def __init__(self, transport: Callable[[], Transport], list_all: ListAll, limits: Limits | None = None) -> None:
        self._transport = transport
        self._list_all = list_all
        self.limits = limits or Limits()
        self._lock = threading.Condition()
        self._shared: dict[tuple[str, str | None], Shared] = {}
        self._reaper: threading.Thread | None = None
        self._is_closed = False

    def acquire(self, resource: Resource, namespace: str | None) -> Shared:
        """The store of a kind and namespace, or of the kind in all namespaces where that one is there already."""
        with self._lock:
            if self._is_closed:
                raise ApiError(f"{resource}: the connection to the cluster is closed", reason=CANCELLED)
            for scope in (None, namespace):
                shared = self._shared.get((resource.path(), scope))
                if shared is not None and shared.store.is_alive:
                    break
            else:
                shared = self._start(resource, namespace)
            shared.users += 1
            return shared

    def release(self, shared: Shared) -> None:
        """It's no longer used by one who acquired it."""
        with self._lock:
            shared.users -= 1
            shared.idle_since = time.monotonic()
            if shared.users == 0 and not self._is_closed and self._reaper is None:
                self._reaper = threading.Thread(target=self._reap, name="koalesce-watch-reaper", daemon=True)
                self._reaper.start()

    def close(self) -> None:
        """End all; their threads end soon."""
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()
            for shared in self._shared.values():
                shared.follower.close()

    def join(self) -> None:
        """Wait for the threads after `close`."""
        with self._lock:
            ending = [shared.follower for shared in self._shared.values()]
            reaper = self._reaper
            self._shared.clear()
        for follower in ending:
            follower.join()
        if reaper is not None:
            reaper.join(2)

    def _start(self, resource: Resource, namespace: str | None) -> Shared:
        store = Store(resource, namespace)
        shared = Shared(store, Follower(store, self._transport, self._list_all, self.limits))
        self._shared[resource.path(), namespace] = shared
        shared.follower.start()
        return shared

    def _reap(self) -> None:
        """End stores that nobody has used for a while; the thread ends when there is none left to wait for."""
        with self._lock:
            while not self._is_closed:
                idle = {key: shared for key, shared in self._shared.items() if shared.users == 0}
                if not idle:
                    break
                now = time.monotonic()
                for key, shared in idle.items():
                    if now - shared.idle_since >= self.limits.linger:
                        del self._shared[key]
                        shared.follower.close()
                oldest = min(shared.idle_since for shared in idle.values())
                self._lock.wait(max(0.01, oldest + self.limits.linger - now))
            self._reaper = None

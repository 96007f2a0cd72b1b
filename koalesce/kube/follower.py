"""Keeps a store up to date by list and watch.

It begins with a streaming list (KEP-3157) where the server has it, else with a list and a watch from there; goes on over closed
connections from the last resourceVersion; lists anew when that one has expired (410); backs off while the server fails; and takes
a connection that stays silent for longer than bookmarks are apart (a minute) for dead.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from koalesce.errors import ClusterError
from koalesce.kube.backoff import Backoff
from koalesce.kube.errors import BAD_ANSWER, CANCELLED, TIMEOUT, ApiError
from koalesce.kube.guard import Call
from koalesce.kube.limits import Limits
from koalesce.kube.resource import Resource
from koalesce.kube.store import Key, Object, Store, key_of, slim

if TYPE_CHECKING:
    from koalesce.kube.transport import Transport

_FINAL = (401, 403, 404, 405)
_INITIAL_END = "k8s.io/initial-events-end"
_LONG = 1.0  # a connection that lived this many seconds was a good one
ListAll = Callable[[Resource, str | None], tuple[list[Object], str]]  # objects, and the list's resourceVersion


class _NoStreamingList(Exception):
    """The server doesn't do streaming lists."""


class Follower:
    """The thread that writes one store."""

    def __init__(
        self, store: Store, transport: Callable[[], Transport], list_all: ListAll, limits: Limits | None = None
    ) -> None:
        self._store = store
        self._transport = transport
        self._list_all = list_all
        self._limits = limits or Limits()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._call = Call()
        self._is_stale = False
        self._streams_lists = True
        self._backoff = Backoff()
        self._thread = threading.Thread(target=self._run, name=f"koalesce-watch-{store}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def relist(self) -> None:
        """Distrust the connection: end it and begin with a list, which readers wait for."""
        self._store.distrust()
        with self._lock:
            self._is_stale = True
            self._call.end(CANCELLED)

    def close(self) -> None:
        """End the connection and, soon, the thread."""
        self._closing.set()
        self._store.close()
        with self._lock:
            self._call.end(CANCELLED)

    def join(self) -> None:
        """Wait for the thread's end after `close`."""
        if self._thread is not threading.current_thread():
            self._thread.join(2)

    def _run(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._follow()
            except ApiError as error:
                if self._closing.is_set():
                    return
                if error.status in _FINAL:
                    self._store.refuse(error)
                    return
                self._note(error)
            except ClusterError as error:  # a kubeconfig of no use
                self._store.refuse(error)
                return
            if time.monotonic() - began >= _LONG:
                self._backoff.reset()
            self._closing.wait(self._backoff.next())

    def _note(self, error: ApiError) -> None:
        """Prepare for another try."""
        if error.status == 410 or "Too large resource version" in error.message:  # the latter: the datastore was reset
            self._store.distrust()
        elif not error.cancelled:
            self._store.goes_down(error)

    def _follow(self) -> None:
        """One connection, from where the last one ended to the server's end of it."""
        with self._lock:
            if self._is_stale:
                self._store.distrust()  # again: events may have come between `relist` and the connection's end
            self._is_stale = False
            self._call = Call()
            if self._closing.is_set():
                return
        if version := self._store.version:
            self._watch_from(version)
            return
        if self._streams_lists:
            try:
                self._stream_list()
                return
            except _NoStreamingList:
                self._streams_lists = False
        items, version = self._list_all(self._store.resource, self._store.namespace)
        self._store.replace({key_of(item): slim(item) for item in items}, version)
        self._watch_from(version)

    def _watch_from(self, version: str) -> None:
        with self._open({"resourceVersion": version}, self._limits.silence) as events:
            self._store.comes_up()
            for kind, obj in events:
                self._store.take(kind, obj)

    def _stream_list(self) -> None:
        """A watch that begins with what there is, and goes on from there."""
        query = {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan"}
        with contextlib.ExitStack() as stack:
            try:
                events = stack.enter_context(self._open(query, self._limits.pause))
            except ApiError as error:
                if error.status in (400, 422):  # switched off
                    raise _NoStreamingList from error
                raise
            self._gather(events)
            self._call.allow(self._limits.silence)
            for kind, obj in events:
                self._store.take(kind, obj)

    def _gather(self, events: Iterator[tuple[str, Object]]) -> None:
        """Take the initial events, whose end a bookmark tells."""
        objects: dict[Key, Object] = {}
        try:
            for kind, obj in events:
                if kind == "BOOKMARK":
                    if (obj["metadata"].get("annotations") or {}).get(_INITIAL_END) == "true":
                        self._store.replace(objects, obj["metadata"]["resourceVersion"])
                        return
                elif kind == "DELETED":
                    objects.pop(key_of(obj), None)
                else:
                    objects[key_of(obj)] = slim(obj)
        except ApiError as error:
            if error.reason == TIMEOUT:  # the server doesn't know what was asked, and sends events as ever
                raise _NoStreamingList from error
            raise
        raise ApiError(f"{self._store}: the list ended before its end", reason=BAD_ANSWER)

    @contextlib.contextmanager
    def _open(self, query: Mapping[str, Any], silence: float) -> Iterator[Iterator[tuple[str, Object]]]:
        """The events of one connection."""
        seconds = self._limits.session + random.randrange(30)  # noqa: S311 - so that not all end at once
        stream = self._transport().stream(
            self._store.resource.path(self._store.namespace),
            query={"watch": True, "allowWatchBookmarks": True, "timeoutSeconds": seconds, **query},
            silence=silence,
            call=self._call,
        )
        with contextlib.closing(stream):
            yield (self._event(line) for line in stream.lines() if line.strip())

    def _event(self, line: bytes) -> tuple[str, Object]:
        try:
            event = json.loads(line)
            kind, obj = event["type"], event["object"]
            if kind != "ERROR":
                obj["metadata"]["resourceVersion"]
        except (ValueError, KeyError, TypeError) as error:
            raise ApiError(
                f"{self._store}: the watch sent what is no event: {line[:200]!r}", reason=BAD_ANSWER
            ) from error
        if kind == "ERROR":
            raise ApiError.from_status(obj, call=f"watch {self._store}")
        return kind, obj

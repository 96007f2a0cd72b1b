"""Watches against a server with troubles; each of these was a defect of the stock clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from koalesce.kube import ApiError, Kube, UnknownKind, View
from koalesce.kube.limits import Limits
from tests.unit.kube.api_server import FakeApi, serve
from tests.unit.kube.conftest import LIMITS

Connect = Callable[[Path, Limits], Kube]
PATIENT = replace(LIMITS, silence=600)  # a connection bears it for so long that nothing is said
AT_ONCE = 60.0  # on a busy machine, and far less than that


class Watcher:
    """A view that counts its calls."""

    def __init__(self, kube: Kube) -> None:
        self.calls = 0
        self.called = threading.Event()
        self.view: View = kube.view(self._changed)
        self.kind = kube.resource("cm")

    def _changed(self) -> None:
        self.calls += 1
        self.called.set()

    def names(self) -> list[str]:
        return [obj["metadata"]["name"] for obj in self.view.list(self.kind, namespace="default", timeout=60)]

    def look(self, name: str = "a") -> str | None:
        """An attempt that reads one object: its `data` (here a string), None if it isn't there."""
        self.called.clear()
        self.view.begin()
        found = self.view.get(self.kind, name, timeout=60)
        return None if found is None else found.get("data", "")

    def wait(self) -> bool:
        return self.called.wait(60)


@pytest.fixture
def watcher(kube: Kube) -> Iterator[Watcher]:
    watcher = Watcher(kube)
    yield watcher
    watcher.view.close()


def until(holds: Callable[[], bool]) -> bool:
    """Whether it held within a minute."""
    deadline = time.monotonic() + 60
    while not holds():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


@pytest.mark.parametrize("streaming", ["served", "refused", "ignored"])
def test_follows_what_happens(watcher: Watcher, api: FakeApi, streaming: str) -> None:
    api.streaming = streaming
    api.put("old", data="0")

    assert watcher.look("a") is None
    for value in ("1", "2", "3"):
        api.put("a", data=value)
        assert watcher.wait()
        assert watcher.look("a") == value
    api.remove("a")
    assert watcher.wait()
    assert watcher.look("a") is None
    assert watcher.names() == ["old"]


def test_a_streaming_list_needs_no_other(watcher: Watcher, api: FakeApi) -> None:
    api.put("a")

    assert watcher.names() == ["a"]
    assert api.count("GET", "/configmaps") == 0
    assert [query["sendInitialEvents"] for query in api.watches()] == ["true"]


def test_a_server_without_streaming_lists_is_asked_once(watcher: Watcher, api: FakeApi) -> None:
    api.streaming = "refused"
    api.put("a", data="1")
    assert watcher.look() == "1"

    assert until(lambda: len(api.watches()) == 2)
    api.cut()

    assert until(lambda: len(api.watches()) == 3)
    assert ["sendInitialEvents" in query for query in api.watches()] == [True, False, False]
    assert api.count("GET", "/configmaps") == 1


def test_five_hundred_waits_are_one_watch(kube: Kube, api: FakeApi) -> None:
    api.put("a", data="1")
    views = [kube.view(lambda: None) for _ in range(500)]
    kind = kube.resource("cm")
    threads = [threading.Thread(target=view.get, args=(kind, "a")) for view in views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(view.has_read for view in views)
    assert len(api.watches()) == 1


def test_goes_on_where_a_broken_watch_ended(watcher: Watcher, api: FakeApi) -> None:
    api.put("a", data="1")
    assert watcher.look() == "1"
    api.cut()

    version = api.put("a", data="2")["metadata"]["resourceVersion"]

    assert watcher.wait()
    assert watcher.look() == "2"
    assert int(api.watches()[1]["resourceVersion"]) < int(version)
    assert "sendInitialEvents" not in api.watches()[1]
    assert watcher.calls == 1


@pytest.mark.parametrize("streaming", ["served", "refused"])
def test_lists_anew_when_its_version_has_expired_and_misses_no_deletion(
    watcher: Watcher, api: FakeApi, streaming: str
) -> None:
    api.streaming = streaming
    api.put("a", data="1")
    api.put("b", data="1")
    assert watcher.look("b") == "1"
    assert watcher.look("a") == "1"
    api.deaf = True  # from here on the watch tells nothing
    api.remove("a")
    api.put("c")
    api.compact()

    api.cut()
    api.deaf = False

    assert watcher.wait()
    assert watcher.look("a") is None
    assert watcher.names() == ["b", "c"]
    assert any(line.startswith("configmap/a: deleted +") for line in watcher.view.history())
    assert watcher.calls == 1


def test_backs_off_while_the_server_fails_and_recovers(watcher: Watcher, api: FakeApi) -> None:
    api.put("a", data="1")
    assert watcher.look() == "1"
    before = len(api.requests)
    api.failing["/configmaps"] = (500, "internal error")
    began = time.monotonic()
    api.cut()
    assert until(lambda: len(api.requests) - before >= 3)

    pauses = len(api.requests) - before - 1
    assert time.monotonic() - began >= sum(0.8 * 0.1 * 2**number for number in range(pauses))
    with pytest.raises(ApiError, match=r"not watched for .* internal error") as caught:
        watcher.view.get(watcher.kind, "a", timeout=0)
    assert (caught.value.status, caught.value.transient) == (500, True)

    api.failing.clear()
    api.put("a", data="2")
    assert watcher.wait()
    assert watcher.look() == "2"


def test_a_watch_that_stays_silent_for_too_long_is_replaced(kubeconfig: Path, api: FakeApi, connect: Connect) -> None:
    api.put("a", data="1")
    watcher = Watcher(connect(kubeconfig, replace(LIMITS, silence=0.3)))
    assert watcher.look() == "1"

    assert until(lambda: len(api.watches()) >= 2)

    api.put("a", data="2")
    assert watcher.wait()
    assert watcher.calls == 1
    watcher.view.close()


def test_a_watch_may_be_silent_for_longer_than_a_call(
    kubeconfig: Path, api: FakeApi, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koalesce.kube.transport._CONNECT_TIMEOUT", 2.0)
    api.streaming = "refused"
    watcher = Watcher(connect(kubeconfig, LIMITS))
    assert watcher.look() is None
    assert until(lambda: len(api.watches()) == 2)

    threading.Event().wait(2.5)

    assert len(api.watches()) == 2
    watcher.view.close()


def test_a_look_waits_while_the_server_is_away(watcher: Watcher, api: FakeApi) -> None:
    api.put("a", data="1")
    assert watcher.look() == "1"
    api.failing["/configmaps"] = (503, "away")
    before = len(api.requests)
    api.cut()
    assert until(lambda: len(api.requests) > before)
    threading.Timer(0.2, api.failing.clear).start()

    assert watcher.look() == "1"


def test_a_first_look_is_never_older_than_the_cluster(kube: Kube, watcher: Watcher, api: FakeApi) -> None:
    api.put("a", data="1")
    api.put("b", labels={"app": "web"})
    assert watcher.look() == "1"
    api.deaf = True  # the watch is behind, or hangs
    api.put("a", data="2")
    api.remove("b")

    late = Watcher(kube)

    assert late.look() == "2"
    assert late.view.list(late.kind, namespace="default", selector="app=web") == []
    assert late.look("b") is None
    late.view.close()


@pytest.mark.parametrize("selects", [True, False])
def test_a_first_look_never_sees_what_is_gone(kube: Kube, watcher: Watcher, api: FakeApi, *, selects: bool) -> None:
    api.put("a", labels={"app": "web"})
    assert watcher.names() == ["a"]
    api.deaf = True
    api.remove("a")

    late = Watcher(kube)

    if selects:
        assert late.view.list(late.kind, namespace="default", selector="app=web") == []
    else:
        assert late.look("a") is None
    late.view.close()


def test_a_first_look_waits_for_a_watch_that_is_a_little_behind(
    kubeconfig: Path, api: FakeApi, connect: Connect
) -> None:
    kube = connect(kubeconfig, replace(LIMITS, catch_up=60))
    watcher = Watcher(kube)
    api.put("a", data="1")
    assert watcher.look() == "1"
    api.deaf = True
    api.put("a", data="2")
    threading.Timer(0.05, setattr, (api, "deaf", False)).start()

    late = Watcher(kube)

    assert late.look() == "2"
    assert len(api.watches()) == 1
    late.view.close()


def test_a_store_is_compared_with_the_cluster_now_and_then(kubeconfig: Path, api: FakeApi, connect: Connect) -> None:
    api.put("a", data="1")
    watcher = Watcher(connect(kubeconfig, replace(LIMITS, trust=0.1)))
    assert watcher.look() == "1"
    api.deaf = True
    api.put("a", data="2")

    assert until(lambda: watcher.look() == "2")
    watcher.view.close()


def test_a_kind_that_goes_fails_its_waits_at_once(watcher: Watcher, api: FakeApi) -> None:
    api.put("a", data="1")
    assert watcher.look() == "1"
    del api.kinds["/api/v1"]["configmaps"]
    api.cut()

    assert watcher.wait()
    with pytest.raises(UnknownKind):
        watcher.look()


def test_a_watch_that_is_forbidden_fails_at_once(watcher: Watcher, api: FakeApi) -> None:
    api.failing["/configmaps"] = (403, "configmaps is forbidden")

    with pytest.raises(ApiError) as caught:
        watcher.look()

    assert (caught.value.status, caught.value.transient) == (403, False)
    api.failing.clear()
    api.put("a", data="1")
    assert watcher.look() == "1"


def test_managed_fields_are_left_out(watcher: Watcher, api: FakeApi) -> None:
    api.put("a")

    found = watcher.view.get(watcher.kind, "a")

    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")


def test_a_store_lingers_and_then_ends(kube: Kube, api: FakeApi, own_threads: OwnThreads) -> None:
    for _ in range(3):
        watcher = Watcher(kube)
        assert watcher.names() == []
        watcher.view.close()
    assert len(api.watches()) == 1

    assert until(lambda: not own_threads("koalesce-watch"))

    watcher = Watcher(kube)
    assert watcher.names() == []
    assert len(api.watches()) == 2
    watcher.view.close()


OwnThreads = Callable[[str], list[str]]


@pytest.fixture
def own_threads() -> OwnThreads:
    """The names, by how they begin, of threads that a test has started and that are still there."""
    before = set(threading.enumerate())
    return lambda name: [each.name for each in set(threading.enumerate()) - before if each.name.startswith(name)]


def test_closing_ends_every_thread_and_every_wait(kubeconfig: Path, api: FakeApi, own_threads: OwnThreads) -> None:
    kube = Kube(kubeconfig, limits=PATIENT)
    watcher = Watcher(kube)
    assert watcher.names() == []
    began = time.monotonic()

    kube.close()

    assert time.monotonic() - began < AT_ONCE
    assert not own_threads("koalesce")
    with pytest.raises(ApiError) as caught:
        watcher.look()
    assert caught.value.cancelled


def test_closing_does_not_wait_for_a_server_that_hangs(kubeconfig: Path, api: FakeApi, own_threads: OwnThreads) -> None:
    kube = Kube(kubeconfig, limits=PATIENT)
    watcher = Watcher(kube)
    api.answering.clear()
    with pytest.raises(ApiError):
        watcher.view.get(watcher.kind, "a", timeout=0)
    began = time.monotonic()

    kube.close()

    assert time.monotonic() - began < AT_ONCE
    assert not own_threads("koalesce")


def test_a_wait_for_the_first_list_can_be_cancelled(kubeconfig: Path, api: FakeApi, connect: Connect) -> None:
    watcher = Watcher(connect(kubeconfig, PATIENT))
    api.answering.clear()
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    began = time.monotonic()

    with pytest.raises(ApiError) as caught:
        watcher.view.get(watcher.kind, "a", cancel=cancel)

    assert caught.value.cancelled
    assert time.monotonic() - began < AT_ONCE


def test_watches_over_tls_end_when_told(
    tmp_path: Path, api: FakeApi, certificate: tuple[Path, Path], connect: Connect, own_threads: OwnThreads
) -> None:
    with serve(api, tmp_path, certificate=certificate) as kubeconfig:
        kube = connect(kubeconfig, PATIENT)
        watcher = Watcher(kube)
        assert watcher.look() is None
        api.put("a", data="1")
        assert watcher.wait()
        began = time.monotonic()

        kube.close()

        assert time.monotonic() - began < AT_ONCE
        assert not own_threads("koalesce")

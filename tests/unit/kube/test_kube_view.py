from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from koalesce.errors import UsageError
from koalesce.kube import ApiError, Kube, Resource, View
from tests.unit.kube.api_server import FakeApi


class Signal:
    def __init__(self) -> None:
        self.event = threading.Event()
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.event.set()


@pytest.fixture
def signal() -> Signal:
    return Signal()


@pytest.fixture
def view(kube: Kube, signal: Signal) -> Iterator[View]:
    view = kube.view(signal)
    yield view
    view.close()


@pytest.fixture
def kind(kube: Kube) -> Resource:
    return kube.resource("cm")


def settle(kube: Kube, api: FakeApi) -> None:
    """Return once the watch has delivered everything so far."""
    seen = Signal()
    view = kube.view(seen)
    view.begin()
    assert view.get(kube.resource("cm"), "last") is None
    api.put("last")
    assert seen.event.wait(60)
    api.remove("last")
    view.close()


def names(objects: list[dict[str, Any]]) -> list[str]:
    return [f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" for obj in objects]


def test_an_attempt_begins_with_nothing_read(view: View, kind: Resource, api: FakeApi) -> None:
    view.begin()
    assert not view.has_read

    view.get(kind, "a")
    assert view.has_read
    assert not view.changed

    view.begin()
    assert not view.has_read


def test_tells_of_a_change_of_what_was_read(view: View, kind: Resource, api: FakeApi, signal: Signal) -> None:
    view.begin()
    view.get(kind, "a")

    api.put("a")

    assert signal.event.wait(60)
    assert view.changed
    view.begin()
    assert not view.changed


def test_is_silent_about_what_was_not_read(
    kube: Kube, view: View, kind: Resource, api: FakeApi, signal: Signal
) -> None:
    api.put("web", labels={"app": "web"})
    view.begin()
    view.get(kind, "a")
    view.list(kind, namespace="default", selector="app=web")

    api.put("b")
    api.put("db", labels={"app": "db"})
    api.put("other", namespace="elsewhere", labels={"app": "web"})
    settle(kube, api)

    assert (signal.calls, view.changed) == (0, False)


def test_tells_of_objects_that_enter_or_leave_a_selection(
    view: View, kind: Resource, api: FakeApi, signal: Signal
) -> None:
    changes: tuple[Callable[[], object], ...] = (
        lambda: api.put("a", labels={"app": "web"}),
        lambda: api.put("a", labels={"app": "web", "more": "yes"}),
        lambda: api.put("a", labels={"app": "db"}),
    )
    for change in changes:
        signal.event.clear()
        view.begin()
        view.list(kind, namespace="default", selector="app=web")
        change()
        assert signal.event.wait(60)


def test_an_attempt_that_is_over_is_told_nothing(
    kube: Kube, view: View, kind: Resource, api: FakeApi, signal: Signal
) -> None:
    view.begin()
    view.get(kind, "a")
    view.begin()

    api.put("a")
    settle(kube, api)

    assert (signal.calls, view.changed) == (0, False)


def test_a_change_that_was_read_is_not_told_afterwards(
    kube: Kube, view: View, kind: Resource, api: FakeApi, signal: Signal
) -> None:
    """It reads while the change is being told to others: it has seen it, and must not be woken by it."""
    done = threading.Event()

    def read() -> None:
        view.begin()
        assert view.get(kind, "a") is not None
        done.set()

    first = kube.view(read)
    first.begin()
    first.get(kind, "a")
    view.begin()
    view.get(kind, "b")

    api.put("a")
    assert done.wait(60)
    settle(kube, api)

    assert (signal.calls, view.changed) == (0, False)
    first.close()


def test_a_closed_view_is_told_nothing(kube: Kube, view: View, kind: Resource, api: FakeApi, signal: Signal) -> None:
    view.begin()
    view.get(kind, "a")
    view.close()

    api.put("a")
    settle(kube, api)

    assert signal.calls == 0


def test_lists_by_namespace_and_name(view: View, kind: Resource, api: FakeApi) -> None:
    for namespace, name in (("b", "x"), ("a", "z"), ("a", "y")):
        api.put(name, namespace=namespace, labels={"app": name})

    assert names(view.list(kind)) == ["a/y", "a/z", "b/x"]
    assert names(view.list(kind, namespace="a")) == ["a/y", "a/z"]
    assert names(view.list(kind, namespace="a", selector="app in (z,x)")) == ["a/z"]


def test_a_watch_of_all_namespaces_serves_each(view: View, kind: Resource, api: FakeApi) -> None:
    api.put("x", namespace="a")
    view.list(kind)

    assert names(view.list(kind, namespace="a")) == ["a/x"]
    assert view.list(kind, namespace="b") == []
    assert view.get(kind, "x", "b") is None
    assert len(api.watches()) == 1


def test_a_bad_selector_is_the_user_s_mistake(view: View, kind: Resource) -> None:
    with pytest.raises(UsageError):
        view.list(kind, selector="a b")


def test_what_can_t_be_watched_is_read_each_time(kube: Kube, view: View, kind: Resource, api: FakeApi) -> None:
    statuses = kube.resource("componentstatuses")
    view.begin()
    view.get(kind, "a")
    assert view.has_read

    for _ in range(2):
        view.get(statuses, "etcd")
        view.list(statuses)

    assert not view.has_read
    assert api.count("GET", "/componentstatuses") == 4
    assert len(api.watches()) == 1


def test_tells_what_happened_to_what_was_read(view: View, kind: Resource, api: FakeApi, signal: Signal) -> None:
    api.put("a", status={"phase": "Pending"})
    api.put("b", status={"phase": "Pending"})
    view.begin()
    view.get(kind, "a")
    assert view.history() == []

    api.put("b", status={"phase": "Running"})
    api.put("a", status={"phase": "Running"})
    assert signal.event.wait(60)

    assert [re.sub(r"\+\d+\.\ds", "+T", line) for line in view.history()] == ["configmap/a phase: Pending → Running +T"]


def test_an_attempt_with_a_failed_read_does_not_count_on_changes(view: View, kind: Resource, api: FakeApi) -> None:
    view.begin()
    view.get(kind, "a")
    api.failing["/elsewhere"] = (403, "forbidden")

    with pytest.raises(ApiError):
        view.get(kind, "a", "elsewhere")

    assert not view.has_read
    view.begin()
    view.get(kind, "a")
    assert view.has_read


def test_gives_what_was_read_as_it_is_by_now(view: View, kind: Resource, api: FakeApi, signal: Signal) -> None:
    api.put("a", data="1", labels={"app": "web"})
    api.put("b", data="1")
    view.begin()
    view.list(kind, namespace="default", selector="app=web")
    view.begin()

    api.put("c", data="3", labels={"app": "web"})
    api.put("a", data="2", labels={"app": "web"})
    while [obj["data"] for obj in view.list(kind, namespace="default", selector="app=web")] != ["2", "3"]:
        signal.event.clear()
        assert signal.event.wait(60)
        view.begin()

    assert [(resource.kind, obj["data"]) for resource, obj in view.last_seen()] == [
        ("ConfigMap", "2"), ("ConfigMap", "3")
    ]  # fmt: skip

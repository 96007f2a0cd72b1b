"""What a supervisor looks after: it looks again when something has changed, and tries again what has failed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import pytest

from koalesce.errors import ClusterError
from koalesce.kube import Kube, View
from koalesce.local import controlling
from koalesce.local.controlling import Events, each_of, look_after
from tests.fakes import FakeKube, made


class Watched:
    """A client whose views tell of changes when they are told to."""

    changed = False

    def view(self, on_change: Callable[[], None]) -> Watched:
        self.tell = on_change
        return self

    def begin(self) -> None: ...


class Counter:
    def __init__(self, *problems: Exception) -> None:
        self.problems = list(problems)
        self.looks = threading.Semaphore(0)

    def look(self, view: View) -> None:
        self.looks.release()
        if self.problems:
            raise self.problems.pop(0)


@pytest.mark.parametrize("problem", [ClusterError("worker-1 is switched off"), KeyError("spec")])
def test_it_tries_again_what_has_failed_and_looks_at_changes(
    problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controlling, "_AGAIN", 0.0)
    watched, counter, stopping = Watched(), Counter(problem), threading.Event()

    look_after("test", counter, cast("Kube", watched), stopping)
    assert counter.looks.acquire(timeout=60)
    assert counter.looks.acquire(timeout=60)
    watched.tell()
    assert counter.looks.acquire(timeout=60)

    stopping.set()
    watched.tell()


def test_all_is_done_also_where_something_can_not_be() -> None:
    done: list[int] = []

    def fail() -> None:
        raise ClusterError("not this")

    with pytest.raises(ClusterError, match="not this"):
        each_of(lambda: done.append(1), fail, lambda: done.append(2))

    assert done == [1, 2]


def test_an_event_is_told_once() -> None:
    kube = FakeKube()
    events = Events(cast("Kube", kube))
    service = {**made("Service", "web"), "metadata": {"name": "web", "namespace": "test", "uid": "1"}}

    for message in ("a", "a", "b"):
        events.tell(service, "SyncLoadBalancerFailed", message)

    told = kube.list(kube.resource("events"))
    assert sorted(event["message"] for event in told) == ["a", "b"]
    assert {event["involvedObject"]["name"] for event in told} == {"web"}

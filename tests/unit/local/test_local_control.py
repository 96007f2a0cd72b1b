"""The socket that a supervisor is asked by: a fault lasts no longer than its connection."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import ClusterError
from koalesce.local.control import SOCKET, Asking, Control


class Begun:
    """Notes what happens; `refusal` and `trouble` are raised at the begin and at the undo."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.refusal: Exception | None = None
        self.trouble: Exception | None = None
        self.undone = threading.Event()

    def begin(self, wanted: Mapping[str, Any]) -> Callable[[], None]:
        if self.refusal:
            raise self.refusal
        self.log.append(dict(wanted))
        return self.undo

    def undo(self) -> None:
        self.log.append("undo")
        self.undone.set()
        if self.trouble:
            raise self.trouble


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def begun() -> Begun:
    return Begun()


@pytest.fixture
def folder(tmp_path: Path, begun: Begun, stopping: threading.Event) -> Path:
    """A folder whose path is longer than that of a socket may be."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    Control(deep, begun.begin, stopping).start()
    return deep


def test_a_fault_is_begun_and_undone(folder: Path, begun: Begun) -> None:
    asking = Asking(folder)
    asking.ask(begin={"kind": "link-down"})
    assert begun.log == [{"kind": "link-down"}]

    asking.ask(undo=True)
    asking.ask(undo=True)
    asking.close()

    assert begun.log == [{"kind": "link-down"}, "undo"]


def test_only_its_owner_may_ask(folder: Path) -> None:
    assert stat.S_IMODE((folder / SOCKET).stat().st_mode) == 0o600


def test_a_fault_ends_with_who_asked_for_it(folder: Path, begun: Begun) -> None:
    asking = Asking(folder)
    asking.ask(begin={"kind": "link-down"})

    asking.close()

    assert begun.undone.wait(60)


def test_nothing_is_undone_in_a_cluster_that_is_ending(folder: Path, begun: Begun, stopping: threading.Event) -> None:
    asking = Asking(folder)
    asking.ask(begin={"kind": "link-down"})
    stopping.set()

    asking.close()

    _settle()
    assert begun.log == [{"kind": "link-down"}]


def test_a_refusal_is_told_with_its_hint_and_the_next_is_answered(folder: Path, begun: Begun) -> None:
    begun.refusal = ClusterError("no such link", hint="make one")
    with closing(Asking(folder)) as asking, pytest.raises(ClusterError) as caught:
        asking.ask(begin={})
    assert (caught.value.message, caught.value.hint) == ("no such link", "make one")

    begun.refusal = ValueError("a bug")
    with closing(Asking(folder)) as asking, pytest.raises(ClusterError, match="ValueError: a bug"):
        asking.ask(begin={})


def test_an_undo_that_fails_is_told(folder: Path, begun: Begun) -> None:
    begun.trouble = ClusterError("kubelet does not stay up")
    with closing(Asking(folder)) as asking:
        asking.ask(begin={})

        with pytest.raises(ClusterError, match="kubelet does not stay up"):
            asking.ask(undo=True)


def test_a_supervisor_that_can_not_be_asked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="can't be asked for faults: No such file or directory"):
        Asking(tmp_path)


def _settle() -> None:
    """Wait until no connection is served any more."""
    deadline = time.monotonic() + 60
    while any(thread.name == "fault" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)

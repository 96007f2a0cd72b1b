"""When a cluster with a supervisor ends by itself."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from koalesce.local.ledger import Entry, Ledger
from koalesce.local.lifetime import Lifetime

LONG_AGO = "2020-01-01T00:00:00+00:00"


def lifetime(folder: Path, **fields: Any) -> Lifetime:
    """That of a cluster that is up, whose entry has these fields."""
    ledger = Ledger(folder / "clusters")
    values = {"created": LONG_AGO, "keep": True, "session": {"ttl": 60}} | fields
    ledger.add(Entry(name="c1", **values))
    found = Lifetime(ledger=ledger, name="c1", stopping=threading.Event())
    found.begin(Entry(name="c1"))
    return found


def test_a_kept_cluster_ends_when_its_time_is_over(tmp_path: Path) -> None:
    found = lifetime(tmp_path)

    found.end_in_time()

    assert found.stopping.is_set()
    assert found.ledger.try_share("c1") is None, "another run might begin to use it"


@pytest.mark.parametrize(
    "fields",
    [{"session": {}}, {"session": {"ttl": 0}}, {"session": {"ttl": 1e12}}, {"keep": False}],
)
def test_no_other_cluster_does(tmp_path: Path, fields: dict[str, Any]) -> None:
    found = lifetime(tmp_path, **fields)

    found.end_in_time()

    assert not found.stopping.is_set()


def test_a_run_that_uses_it_is_waited_for(tmp_path: Path) -> None:
    found = lifetime(tmp_path)
    share = found.ledger.try_share("c1")
    assert share is not None

    found.end_in_time()
    assert not found.stopping.is_set()
    share.release()
    found.end_in_time()

    assert found.stopping.is_set()


def test_it_ends_with_a_runner_that_lets_go_of_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "clusters")
    hold = ledger.hold("c1")
    found = lifetime(tmp_path, keep=False)

    found.watch()
    assert not found.stopping.wait(0.1)
    hold.release()

    assert found.stopping.wait(60)


def test_it_outlives_a_runner_that_keeps_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "clusters")
    hold = ledger.hold("c1")
    found = lifetime(tmp_path, keep=False)

    found.watch()
    hold.keep()
    hold.release()
    for thread in threading.enumerate():
        if thread.name == "watch":
            thread.join(60)

    assert not found.stopping.is_set()

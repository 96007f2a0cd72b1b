from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from koalesce.errors import ProvisionError
from koalesce.local.ledger import Entry, Ledger, NameInUse, Process, Thing

ME = Process.of(os.getpid())
GONE = Process(ME.pid, ME.start - 1)  # the pid is in use, by a process that started at another time


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "clusters")


def test_an_entry_is_read_as_it_was_written(ledger: Ledger) -> None:
    entry = Entry(
        name="c1", nodes=("a", "b"), created="2026-01-01T00:00:00+00:00", supervisor=ME, session={"root": "/x"},
        things=(Thing("cgroup", "/sys/fs/cgroup/x"),),
    )  # fmt: skip
    ledger.add(entry)

    assert ledger.find("c1") == entry
    assert ledger.entries() == [entry]
    assert (ledger.folder / "c1.json").stat().st_mode & 0o077 == 0


def test_who_uses_a_cluster_is_known_without_a_lock(ledger: Ledger) -> None:
    assert ledger.users("c1") == []
    first, second = ledger.try_share("c1"), ledger.try_share("c1")
    assert first is not None
    assert second is not None

    assert ledger.users("c1") == [ME.pid, ME.pid]
    first.release()
    second.release()
    assert ledger.users("c1") == []


@pytest.mark.parametrize(("ttl", "over"), [(0, False), (3600, True), (3601, False)])
def test_the_time_of_a_cluster_counts_from_its_making(ttl: float, over: bool) -> None:
    entry = Entry(name="c1", created="2026-01-01T00:00:00+00:00", session={"ttl": ttl})

    assert entry.is_over(datetime(2026, 1, 1, 1, 0, 0, tzinfo=UTC)) is over


def test_a_name_is_used_once(ledger: Ledger) -> None:
    ledger.add(Entry(name="c1"))

    with pytest.raises(NameInUse, match="a cluster c1 exists"):
        ledger.add(Entry(name="c1"))


def test_a_supervisor_takes_over_what_its_runner_noted(ledger: Ledger) -> None:
    ledger.add(Entry(name="c1", run_id="r1", session={"root": "/x"}))

    written = ledger.begin(Entry(name="c1", supervisor=ME, kubernetes="1.37.2"))

    assert written == ledger.find("c1")
    assert (written.run_id, written.session, written.kubernetes) == ("r1", {"root": "/x"}, "1.37.2")


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (Entry(name="c1", supervisor=ME), "a cluster c1 exists"),
        (Entry(name="c1", supervisor=GONE, things=(Thing("folder", "/x"),)), "a cluster c1 has left things"),
    ],
)
def test_a_supervisor_takes_nothing_from_another(ledger: Ledger, before: Entry, message: str) -> None:
    ledger.add(before)

    with pytest.raises(NameInUse, match=message):
        ledger.begin(Entry(name="c1", supervisor=ME))


def test_things_are_recorded_once_and_in_order(ledger: Ledger) -> None:
    ledger.record("c1", Thing("folder", "/x"))
    ledger.record("c1", Thing("link", "l"), Thing("folder", "/x"))

    entry = ledger.find("c1")
    assert entry is not None
    assert entry.things == (Thing("folder", "/x"), Thing("link", "l"))


def test_a_damaged_entry_is_named(ledger: Ledger) -> None:
    ledger.folder.mkdir()
    (ledger.folder / "c1.json").write_text("{")

    with pytest.raises(ProvisionError, match=r"c1\.json is damaged"):
        ledger.entries()


def test_fields_of_a_later_version_are_left_out(ledger: Ledger) -> None:
    ledger.folder.mkdir()
    (ledger.folder / "c1.json").write_text('{"name": "c1", "colour": "red"}')

    assert ledger.entries() == [Entry(name="c1")]


def test_one_holds_a_cluster_at_a_time_and_leaves_no_file(ledger: Ledger) -> None:
    with ledger.hold("c1"):
        assert ledger.try_hold("c1") is None
        with pytest.raises(NameInUse, match="in use by another run"):
            ledger.hold("c1")
        assert ledger.lock("c1").exists()

    assert not ledger.lock("c1").exists()
    ledger.hold("c1").release()


def test_locks_that_the_dead_left_of_clusters_that_are_gone_are_removed(ledger: Ledger) -> None:
    ledger.tidy()
    ledger.add(Entry(name="known"))
    with ledger.hold("held"):
        for name in ("known", "gone"):
            ledger.lock(name).touch()

        ledger.tidy()

        assert {path.name for path in ledger.folder.glob("*.lock")} == {"held.lock", "known.lock"}


def test_who_waits_gets_the_lock_of_a_dead_holder(ledger: Ledger) -> None:
    hold = ledger.hold("c1")
    assert ledger.try_hold("c1") is None
    os.close(hold._descriptor)  # as the end of its process does

    taken = ledger.wait_for_hold("c1")

    assert taken is not None
    taken.release()


def test_who_waits_learns_that_the_lock_was_let_go_in_good_order(ledger: Ledger) -> None:
    hold = ledger.hold("c1")
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(ledger.wait_for_hold("c1")))
    waiting.start()
    inode = f":{ledger.lock('c1').stat().st_ino} "
    while not any(" -> " in line and inode in line for line in Path("/proc/locks").read_text().splitlines()):
        os.sched_yield()
    hold.release()
    waiting.join(60)

    assert answers == [None]


def test_keeping_is_noted(ledger: Ledger) -> None:
    ledger.add(Entry(name="c1"))

    with ledger.hold("c1") as hold:
        hold.keep()

    entry = ledger.find("c1")
    assert entry is not None
    assert entry.keep


def test_processes_are_told_by_their_start() -> None:
    assert ME.is_alive
    assert not GONE.is_alive
    with pytest.raises(ProcessLookupError):
        Process.of(2**22 + 1)

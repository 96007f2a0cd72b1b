"""Failures at one time share a look at the cluster; none gets a look that began before it had failed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from koalesce.engine.evidence_sharing import EvidenceSharing, Found
from koalesce.engine.evidence_writer import EvidenceWriter
from koalesce.engine.masking import Masks

_PATIENCE = 30.0


class Looks:
    """A look that lasts until it is told to end; how often it was made."""

    def __init__(self) -> None:
        self.number = 0
        self.began = threading.Semaphore(0)
        self.end = threading.Semaphore(0)

    def __call__(self, writer: EvidenceWriter) -> Found:
        self.number += 1
        number = self.number
        self.began.release()
        assert self.end.acquire(timeout=_PATIENCE)
        writer.write("nodes/worker-1/network.txt", f"look {number}")
        writer.problems.append(f"problem of look {number}")
        return Found(pods=[{"look": number}])


def new_writer(folder: Path) -> EvidenceWriter:
    return EvidenceWriter(folder=folder, masks=Masks())


def text(writer: EvidenceWriter) -> str:
    return (writer.folder / "nodes/worker-1/network.txt").read_text()


def test_those_who_ask_during_a_look_share_the_next(tmp_path: Path) -> None:
    sharing, looks = EvidenceSharing(), Looks()
    writers = [new_writer(tmp_path / str(number)) for number in range(4)]

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(sharing.have, writers[0], "cluster", looks)
        assert looks.began.acquire(timeout=_PATIENCE)
        others: list[Future[Found]] = [pool.submit(sharing.have, each, "cluster", looks) for each in writers[1:]]
        while not all(each.running() for each in others):
            time.sleep(0.01)
        looks.end.release(2)
        found = [first.result(_PATIENCE), *(each.result(_PATIENCE) for each in others)]

    assert looks.number in (2, 3)  # 3: one of them had not yet asked when the second began
    assert text(writers[0]) == "look 1"
    assert {text(each) for each in writers[1:]} <= {"look 2", "look 3"}
    assert found[0].pods == [{"look": 1}]
    assert all(each.problems == [f"problem of {text(each)}"] for each in writers)


def test_another_cluster_is_looked_at_on_its_own(tmp_path: Path) -> None:
    sharing, looks = EvidenceSharing(), Looks()
    one, other = new_writer(tmp_path / "one"), new_writer(tmp_path / "other")
    looks.end.release(2)

    sharing.have(one, "a", looks)
    sharing.have(other, "b", looks)

    assert (text(one), text(other)) == ("look 1", "look 2")


def test_a_look_is_not_kept_for_later_failures(tmp_path: Path) -> None:
    sharing, looks = EvidenceSharing(), Looks()
    early, late = new_writer(tmp_path / "early"), new_writer(tmp_path / "late")
    looks.end.release(2)

    sharing.have(early, "cluster", looks)
    sharing.have(late, "cluster", looks)

    assert (text(early), text(late)) == ("look 1", "look 2")


def test_what_is_written_again_stays_as_it_was_for_others(tmp_path: Path) -> None:
    one, other = new_writer(tmp_path / "one"), new_writer(tmp_path / "other")
    one.write("a", "first")
    other.take_over(one.folder, one.written)

    one.write("a", "second")

    assert (other.folder / "a").read_text() == "first"


def test_where_no_links_can_be_made_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_self: Path, _target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refused)
    one, other = new_writer(tmp_path / "one"), new_writer(tmp_path / "other")
    one.write("a/b", "text")

    other.take_over(one.folder, one.written)

    assert (other.folder / "a/b").read_text() == "text"


def test_what_can_not_be_taken_over_is_noted_and_the_rest_is_had(tmp_path: Path) -> None:
    one, other = new_writer(tmp_path / "one"), new_writer(tmp_path / "other")
    one.write("b", "text")

    other.take_over(one.folder, ["a", "b"])

    assert other.problems == ["a: No such file or directory"]
    assert (other.folder / "b").read_text() == "text"

"""Processes that outlive whoever started them: found by their mark, and ended, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from koalesce import marked

# Starts its words with a mark, says their pid and the mark, and waits until it is killed.
_RUNNER = """
import os, subprocess, sys, time
from pathlib import Path
from koalesce import marked
note = marked.Note(Path(sys.argv[1]))
first = subprocess.Popen(sys.argv[3:], env=note.environment(os.environ), start_new_session=True)
if sys.argv[2] == "noted":
    note.first(first.pid)
print(first.pid, note.mark, flush=True)
time.sleep(600)
"""
_FIRST = "{} sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 0.1; done' & wait"
# By what the first process starts another, which ignores SIGTERM: in a session of its own only where it's noted who the first is.
_HOW = {"noted": "setsid", "killed before it was noted": ""}


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Pids that a test has started: none of them is left."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if _is_alive(pid):
            os.kill(pid, 9)


def _killed_runner(folder: Path, started: list[int], how: str) -> tuple[int, int]:
    """The first process, and its child, of a runner that was killed."""
    words = [sys.executable, "-c", _RUNNER, folder / "notes", how, "sh", "-c", _FIRST.format(_HOW[how])]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        first = int(runner.stdout.readline().split()[0])
        child = _read(folder / "child")
        started += [first, child]
        assert marked.end_left(folder / "notes") == []  # it lives, and answers for them
        runner.kill()
    return first, child


@pytest.mark.parametrize("how", _HOW)
def test_what_outlives_both_is_ended(tmp_path: Path, started: list[int], how: str) -> None:
    first, child = _killed_runner(tmp_path, started, how)
    os.kill(first, 9)
    _await_end(first)
    assert _is_alive(child)

    ended = marked.end_left(tmp_path / "notes", grace=1.0)

    assert child in ended
    assert not _is_alive(child)
    assert not (tmp_path / "notes").exists()


@pytest.mark.parametrize("how", _HOW)
def test_what_still_works_stays(tmp_path: Path, started: list[int], how: str) -> None:
    first, child = _killed_runner(tmp_path, started, how)

    assert marked.end_left(tmp_path / "notes") == []

    assert _is_alive(first)
    assert _is_alive(child)
    assert len(list((tmp_path / "notes").iterdir())) == 1


def test_a_process_that_got_the_pid_of_a_dead_one_is_not_taken_for_it(tmp_path: Path, started: list[int]) -> None:
    note = marked.Note(tmp_path / "notes")
    note.close()
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    started.append(other.pid)
    (tmp_path / "notes" / note.mark).write_text(f"{other.pid} 1\n")

    assert marked.end_left(tmp_path / "notes") == []

    assert other.poll() is None
    assert list(tmp_path.iterdir()) == []
    other.kill()
    other.wait()


def test_what_is_to_outlive_its_starter_bears_no_mark(tmp_path: Path) -> None:
    note = marked.Note(tmp_path / "notes")

    assert marked.unmarked(note.environment({"A": "1"})) == {"A": "1"}
    assert note.environment({"A": "1"}) == {"A": "1", marked.VARIABLE: note.mark}
    note.over()
    assert list(tmp_path.iterdir()) == []


def _read(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.01)
    return int(path.read_text())


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + 60
    while _is_alive(pid):
        assert time.monotonic() < deadline, f"{pid} doesn't end"
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_folder_of_notes_goes_with_the_last_one(tmp_path: Path) -> None:
    first, second = marked.Note(tmp_path / "notes"), marked.Note(tmp_path / "notes")

    first.over()
    assert len(list((tmp_path / "notes").iterdir())) == 1
    second.over()

    assert list(tmp_path.iterdir()) == []
    marked.Note(tmp_path / "notes").close()  # as one that died
    assert marked.end_left(tmp_path / "notes") == []
    assert list(tmp_path.iterdir()) == []


def test_a_first_process_that_is_about_to_end_is_awaited(tmp_path: Path, started: list[int]) -> None:
    first, child = _killed_runner(tmp_path, started, "noted")
    ending = threading.Timer(0.5, os.kill, (first, 9))
    ending.start()

    ended = marked.end_left(tmp_path / "notes", grace=1.0, patience=60)

    assert child in ended
    assert not (tmp_path / "notes").exists()
    ending.join()
